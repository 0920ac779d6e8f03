"""How what was learned transfers to molecules that were not trained on.

Beside them stands what would be said without any model, by the planes of all training molecules together, and
beside these what the model makes of some that it was trained on.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from .metrics import (
    RAMACHANDRAN,
    Points,
    histogram,
    histogram_within,
    js_divergence,
    pmf_bins_of,
    pmf_error,
)
from .reduction import FrameSet
from .results import Comparison, Definition, RunResult, Scores

HEADER = (
    *("peptide", "kind", "iid JS", "sim JS", "floor", "pooled"),
    *("iid PMF", "sim PMF", "floor", "pooled"),
)


def pooled_plane(training: Iterable[FrameSet], count: int, seed: int = 0) -> Points:
    """About `count` points of that one plane, in random order.

    Every training molecule has the same weight, and in it every residue; of one that has fewer frames than
    its share all are taken. None at all where there is no molecule, or one has no Ramachandran plane.
    """
    every, random = [*training], np.random.default_rng(seed)
    share, found = -(-count // max(1, len(every))), [np.zeros((0, 2))]
    for one in every:
        projections = one.totals.system.projections
        if any(projection.grid != RAMACHANDRAN for projection in projections):
            return found[0]
        total = one.totals.frames
        chosen = np.sort(random.choice(total, min(share, total), replace=False))
        blocks = one.some(chosen).blocks()
        planes = [np.stack([projection(frames) for projection in projections]) for frames in blocks]
        of_residues = np.concatenate(planes, axis=1)
        found.append(of_residues[random.integers(len(projections), size=len(chosen)), np.arange(len(chosen))])
    return random.permutation(np.concatenate(found))


def against_pooled(plane: Points, reference: FrameSet, count: int) -> list[Comparison]:
    """Metrics of `count` points of that plane against a reference, on each of its projections.

    As if they were samples: fewer points lie farther from any reference, so their number has to be that of
    what they stand beside. Nothing without points, or where the reference has no Ramachandran plane.
    """
    projections, points = reference.totals.system.projections, plane[:count]
    if not len(points) or any(projection.grid != RAMACHANDRAN for projection in projections):
        return []
    js = histogram(points, RAMACHANDRAN)
    shape = RAMACHANDRAN.shape(RAMACHANDRAN.pmf_bins)
    pmf = np.bincount(pmf_bins_of(points, RAMACHANDRAN), minlength=int(np.prod(shape))).reshape(shape)
    limits = [
        np.stack([np.minimum(ends[:, 0], points.min(axis=0)), np.maximum(ends[:, 1], points.max(axis=0))], 1)
        for ends in reference.totals.extremes
    ]
    found = []
    for place, counts in enumerate(reference.within(limits)):
        error = pmf_error(reference.totals.pmf[place], pmf)
        corrected = js_divergence(reference.totals.js[place], js)
        paper = js_divergence(counts, histogram_within(points, limits[place], RAMACHANDRAN))
        found.append(Comparison(Scores(paper, error), Scores(corrected, error)))
    return found


def table(result: RunResult, definition: Definition) -> list[tuple[str, ...]]:
    """Rows of unseen and trained peptides, below `HEADER`; none where nothing is unseen."""
    if not result.trained and "pooled" not in result.corrected:
        return []
    rows = [(name, "unseen", one) for name, one in result.systems.items()]
    rows += [("mean", "unseen", result)] if len(rows) > 1 else []
    rows += [(name, "trained", one) for name, one in result.trained.items()]
    return [(name, kind, *_cells(getattr(one, definition))) for name, kind, one in rows]


def _cells(scores: Mapping[str, Scores]) -> Iterator[str]:
    for metric in ("js", "pmf"):
        for kind in ("iid", "sim", "floor", "pooled"):
            yield f"{getattr(scores[kind], metric):.4f}" if kind in scores else ""
