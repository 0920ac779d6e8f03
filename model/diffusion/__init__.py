"""The noise, and how samples are drawn from it."""
