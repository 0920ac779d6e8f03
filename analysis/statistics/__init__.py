"""How far the numbers of a campaign are to be trusted: convergence, errors, lost chains, kinetics."""
