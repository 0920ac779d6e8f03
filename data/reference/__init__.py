"""Dynamics that references are made of."""
