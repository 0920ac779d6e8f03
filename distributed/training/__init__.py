"""The training of one expert, as each process of its group does it."""
