"""The machines that work is done on, and the Ray that joins them."""
