"""Networks of the experts, and what of a molecule they need not learn."""
