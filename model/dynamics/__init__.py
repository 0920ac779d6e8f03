"""Simulations in a learned potential."""
