"""The `fokker` command and its presets."""
