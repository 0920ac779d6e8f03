"""The `fokker` command, and what is rendered for clusters."""
