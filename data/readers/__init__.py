"""Trajectories as other people keep them."""
