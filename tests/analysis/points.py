"""Metrics of points that are held at once, without any of the sums that make those of the product."""

import numpy as np

from fokker.analysis.metrics import (
    Grid,
    Spread,
    histogram,
    histogram_within,
    js_divergence,
    pmf_bins_of,
    pmf_error,
)
from fokker.analysis.results import Comparison, Scores


def pmf_histogram(points: np.ndarray, grid: Grid) -> np.ndarray:
    shape = grid.shape(grid.pmf_bins)
    return np.bincount(pmf_bins_of(points, grid), minlength=int(np.prod(shape))).reshape(shape)


def spread_of_parts(parts: np.ndarray) -> Spread:
    """Of a histogram for each part."""
    sizes = parts.reshape(len(parts), -1).sum(axis=1)
    return Spread(
        parts.sum(axis=0),
        (parts**2).sum(axis=0),
        np.tensordot(sizes, parts, 1),
        int(sizes.sum()),
        int((sizes**2).sum()),
        int(np.count_nonzero(sizes)),
    )


def compare(reference: np.ndarray, points: np.ndarray, grid: Grid) -> Comparison:
    both = reference, points
    pooled = np.concatenate(both)
    limits = np.stack([pooled.min(axis=0), pooled.max(axis=0)], axis=1)
    pmf = pmf_error(*(pmf_histogram(part, grid) for part in both))
    return Comparison(
        paper=Scores(js_divergence(*(histogram_within(part, limits, grid) for part in both)), pmf),
        corrected=Scores(js_divergence(*(histogram(part, grid) for part in both)), pmf),
    )
