"""How far chains that went bad, and were left out, can shift what is measured of the others.

With a share s of all frames missing, the full distribution is (1 − s) p + s u: p of the kept, u unknown. The
total variation between it and p is s times that of u and p, and so at most s.
"""

from math import log, sqrt

from scipy.special import xlogy


def js_shift(missing: float) -> float:
    """The most, in √nats, by which √JS to any reference differs between all frames and those that were kept.

    With a label, kept or lost, on each frame, p and (1 − s) p + s u become distributions of which forgetting
    the label gives the plain ones, and divergences do not grow by forgetting: JS ≤ ½ [(1 − s) ln(1 − s) −
    (2 − s) ln(1 − s/2) + s ln 2], that of disjoint u and p. As √JS is a metric (Endres and Schindelin, 2003),
    its root bounds the shift. `missing` is the share s of the frames; raises ValueError outside 0 to 1.
    """
    kept = 1 - _checked(missing)
    twice = xlogy(kept, kept) - (1 + kept) * log((1 + kept) / 2) + missing * log(2)
    return sqrt(max(float(twice), 0.0) / 2)


def js_interval(js: float, missing: float) -> tuple[float, float]:
    """JS (nats) of all frames to a reference lies between these, where that of the kept frames is `js`.

    Raises ValueError for a share of missing frames outside 0 to 1, and for `js` outside 0 to ln 2.
    """
    if not 0 <= js <= log(2) + 1e-12:
        raise ValueError(f"a Jensen-Shannon divergence of {js} is not between 0 and ln 2")
    root, shift = sqrt(js), js_shift(missing)
    return max(root - shift, 0.0) ** 2, min((root + shift) ** 2, log(2))


def _checked(share: float) -> float:
    if not 0 <= share <= 1:
        raise ValueError(f"a share of {share} is not between 0 and 1")
    return share
