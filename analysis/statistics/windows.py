"""One distribution from many windows that overlap, each under a bias of its own."""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

ROUNDS = 1000
"""Of the iteration, at most."""
TOLERANCE = 1e-6
"""In kT, of the windows' free energies."""


def unbiased(
    counts: Int[np.ndarray, "windows bins"], bias: Float[np.ndarray, "windows bins"]
) -> Float[np.ndarray, "bins"]:
    """Probabilities of bins without bias, by the counts in every window and its bias there (kT).

    MBAR (Shirts & Chodera 2008) of frames that are told by their bin alone, which is WHAM (Kumar et al.
    1992): p_b = C_b / Σₖ Nₖ exp(fₖ − u_kb), where exp(−fₖ) = Σ_b p_b exp(−u_kb). The f are where a convex
    function is least, which Newton's method finds; a step that would go too far is cut. Windows without
    frames count for nothing. Raises ValueError where there are no frames, or windows do not hang together.
    """
    used = counts.sum(axis=1) > 0
    counts, bias = counts[used], bias[used]
    if not len(counts):
        raise ValueError("no window has a frame")
    seen = counts.sum(axis=0) > 0
    total, sizes, u = counts.sum(axis=0)[seen], counts.sum(axis=1), bias[:, seen]
    f = np.zeros(len(sizes))
    for _ in range(ROUNDS):
        logs = np.log(sizes)[:, None] + f[:, None] - u
        share = np.exp(logs - logsumexp(logs, axis=0))  # Of each window in what is seen at a bin.
        gradient = share @ total - sizes
        hessian = np.diag(share @ total) - (share * total) @ share.T
        # Adding a constant to all f changes nothing: one of them is held.
        step = np.zeros_like(f)
        step[1:] = -np.linalg.lstsq(hessian[1:, 1:], gradient[1:], rcond=None)[0]
        f += step * min(1.0, 2.0 / max(np.abs(step).max(), 1e-300))
        if np.abs(step).max() < TOLERANCE:
            break
    else:
        raise ValueError("the windows do not overlap: take more of them, or a weaker bias")
    p = np.zeros(len(seen))
    p[seen] = np.exp(np.log(total) - logsumexp(np.log(sizes)[:, None] + f[:, None] - u, axis=0))
    return p / p.sum()
