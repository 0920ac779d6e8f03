"""A run: its settings, its folder, its stages and their results."""
