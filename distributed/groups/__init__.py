"""Groups of processes that train the experts, and what is done when one is lost."""
