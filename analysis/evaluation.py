"""What a run is judged by: samples and a simulation of one system beside its reference.

The sets are never held: their histograms are sums, and the paper's JS, whose bins span the extremes of both,
takes one more pass over them.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from .metrics import js_divergence, js_floor, pmf_error
from .reduction import FrameSet, Totals, held, wasserstein
from .results import (
    Comparison,
    FrameCounts,
    Length,
    Metrics,
    MirrorImages,
    SampleCounts,
    SampleResult,
    Scores,
    SimulationCounts,
    Structure,
    SystemResult,
    Torsions,
)
from .systems import System

FLOOR_DRAWS = 3
RESAMPLES = 20
"""Draws of whole chains that give the error of a simulation."""
PARTS = 8
"""Parts that a reference of fewer trajectories is cut into, to see how far they spread."""


def compared(reference: FrameSet, other: FrameSet) -> list[Comparison]:
    """Both metrics of a set, on every projection. ValueError for an empty one.

    The paper's JS has its bins between the extremes of both, so one stray point changes every bin.
    """
    one, two = reference.totals, other.totals
    places = range(len(one.system.projections))
    ends = [np.stack(both) for both in zip(one.extremes, two.extremes, strict=True)]
    limits = [np.stack([both[..., 0].min(axis=0), both[..., 1].max(axis=0)], axis=1) for both in ends]
    found = []
    for i, p, q in zip(places, reference.within(limits), other.within(limits), strict=True):
        pmf = pmf_error(one.pmf[i], two.pmf[i])
        found.append(
            Comparison(
                paper=Scores(js_divergence(p, q), pmf),
                corrected=Scores(js_divergence(one.js[i], two.js[i]), pmf),
            )
        )
    return found


def floor_of(reference: FrameSet, count: int, seed: int) -> list[Comparison]:
    """What `count` independent frames would score on every projection: metrics of sets of one distribution.

    From disjoint random parts of the reference. Between a reference of n and a set of m frames the noise is
    that of two sets of 2/(1/n + 1/m); where half of the frames are fewer, the metric is carried on from a
    quarter to a half of them, along the power of the size that it follows there.
    """
    total, random = reference.totals.frames, np.random.default_rng(seed)
    half, wanted = total // 2, 2 / (1 / total + 1 / count)
    sizes = [int(wanted)] if wanted <= half else [half, half // 2]
    means = []
    for size in sizes:
        drawn = []
        for _ in range(FLOOR_DRAWS):
            order = random.permutation(total)
            halves = (reference.some(part) for part in (order[:size], order[size : 2 * size]))
            drawn.append([each.numbers for each in compared(*halves)])
        means.append(np.mean(drawn, axis=0))
    if len(sizes) == 2:
        with np.errstate(invalid="ignore", divide="ignore"):
            means[0] *= (means[0] / means[1]) ** np.log2(wanted / half)
    return [*map(Comparison.of, means[0])]


def floor_against(reference: FrameSet, independent: FrameSet, count: int) -> list[Comparison]:
    """The same, of a system of which there is an independent reference as well: that scores it."""
    total = independent.totals.frames
    chosen = np.random.default_rng(0).choice(total, min(count, total), replace=False)
    return compared(reference, independent.some(chosen))


def parts_of(system: System, split: str, frames: int) -> list[int]:
    """Frames of each independent part of a reference: trajectories, cut where there are few of them.

    One part where the trajectories are not known.
    """
    known = [count for own, count in system.trajectories if own == split]
    if sum(known) != frames:
        return [frames]
    blocks = -(-PARTS // len(known))
    return [len(block) for count in known for block in np.array_split(np.arange(count), blocks)]


def judge(
    system: System,
    reference: FrameSet,
    iid: FrameSet,
    sim: FrameSet,
    floor: Sequence[Comparison],
    sample: FrameCounts,
    simulate: SimulationCounts,
    crossings: int,
    pooled: Sequence[Comparison] = (),
) -> SystemResult:
    """Metrics of samples and of a simulation against the reference, each beside its floor.

    `floor_sim` is the floor of the simulation's own JS, by the spread over its chains; not a number for one
    chain. `between` are samples and simulation beside each other, with `floor_between`. `crossings` are those
    of φ in all chains, `pooled` is what `transfer.against_pooled` gives.
    ValueError if a set is empty.
    """
    every, found = [], (compared(reference, iid), compared(reference, sim))
    kinds = {"iid": found[0], "sim": found[1], "floor": floor} | ({"pooled": pooled} if pooled else {})
    for place, comparisons in enumerate(zip(*kinds.values(), strict=True)):
        metrics = Metrics.of(dict(zip(kinds, comparisons, strict=True)))
        metrics.corrected["floor_sim"] = _floor_beside(reference.totals, sim.totals, place)
        pairs = ((one.totals.js[place], one.totals.pmf[place]) for one in (iid, sim))
        js, pmf = zip(*pairs, strict=True)
        metrics.corrected["between"] = Scores(js_divergence(*js), pmf_error(*pmf))
        metrics.corrected["floor_between"] = _floor_beside(iid.totals, sim.totals, place)
        every.append(metrics)
    means, sets = Metrics.mean(every), {"reference": reference.totals, "iid": iid.totals, "sim": sim.totals}
    return SystemResult(
        means.paper,
        means.corrected,
        _by_projection(system, every),
        _chain_error(system, reference.totals, sim.totals),
        structure(system, sets, crossings),
        sample,
        simulate,
    )


def _floor_beside(other: Totals, sim: Totals, place: int) -> Scores:
    """The JS alone, by how chains, and parts of the other set, spread."""
    spread = sim.spreads[place]
    return Scores(js_floor(other.spreads[place], spread) if spread.parts > 1 else np.nan, np.nan)


def judge_samples(system: System, reference: np.ndarray, samples: np.ndarray, seed: int = 0) -> SampleResult:
    """Metrics of one set of frames, whoever made them, against a reference, beside their floor.

    Raises ValueError if no frame is finite.
    """
    finite = samples[system.finite(samples)]
    sets = {kind: held(system, part) for kind, part in (("reference", reference), ("samples", finite))}
    found = compared(sets["reference"], sets["samples"])
    lowest = floor_of(sets["reference"], len(finite), seed)
    every = [Metrics.of({"samples": a, "floor": b}) for a, b in zip(found, lowest, strict=True)]
    means, whole = Metrics.mean(every), system.physical(finite)
    return SampleResult(
        means.paper,
        means.corrected,
        _by_projection(system, every),
        structure(system, {kind: one.totals for kind, one in sets.items()}),
        SampleCounts(len(samples), len(samples) - len(finite), int((~whole).sum())),
    )


def _by_projection(system: System, every: Sequence[Metrics]) -> dict[str, Metrics]:
    names = [projection.name for projection in system.projections]
    return dict(zip(names, every, strict=True)) if len(every) > 1 else {}


def _chain_error(system: System, reference: Totals, sim: Totals) -> Scores | None:
    """Standard deviation of the corrected metrics over draws of whole chains, which are independent."""
    place = system.projections.index(system.shown)
    if not len(sim.drawn[place][0]):
        return None
    found = [
        (js_divergence(reference.js[place], js), pmf_error(reference.pmf[place], pmf))
        for js, pmf in zip(*sim.drawn[place], strict=True)
        if js.any()
    ]
    return Scores(*map(float, np.std(found, axis=0, ddof=1) if len(found) > 1 else (np.nan, np.nan)))


def structure(system: System, sets: Mapping[str, Totals], crossings: int | None = None) -> Structure | None:
    """Bonds and distances, wrong hands and modes of a molecule in every set; None of a particle."""
    if not system.pairs:
        return None
    lengths = {label: _length(sets, number) for number, (label, _) in enumerate(system.pairs)}
    torsions = Torsions({kind: one.phi_positive / one.frames for kind, one in sets.items()}, crossings)
    return Structure(
        {label: lengths[label] for label, _ in system.bonds},
        {label: lengths[label] for label, _ in system.far_pairs},
        {kind: _mirror_images(system, one) for kind, one in sets.items()} if system.hands else None,
        torsions if system.shown.grid.periodic else None,
    )


def _length(sets: Mapping[str, Totals], pair: int) -> Length:
    return Length(
        {kind: one.mean_and_spread(pair) for kind, one in sets.items()},
        {
            kind: wasserstein(sets["reference"], one, pair)
            for kind, one in sets.items()
            if kind != "reference"
        },
    )


def _mirror_images(system: System, one: Totals) -> MirrorImages:
    shares = zip((label for label, _ in system.hands), (one.wrong_hands / one.frames).tolist(), strict=True)
    return MirrorImages(
        one.mirror_images, one.mirror_images / one.frames, {label: share for label, share in shares if share}
    )
