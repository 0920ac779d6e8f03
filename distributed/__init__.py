"""What runs in many processes: training, checkpoints, the simulation pool."""
