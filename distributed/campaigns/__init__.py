"""Samples and simulations of many systems by a pool of actors."""
