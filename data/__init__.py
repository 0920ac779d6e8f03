"""Where configurations come from, and how they are fed."""
