"""What a training would cost, and how hosts are shared out for it."""
