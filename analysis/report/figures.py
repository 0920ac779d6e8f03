"""Figures, as matplotlib Figure objects that no global state knows of."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..metrics import Counts, Grid, free_energy
from ..reduction import Totals
from ..results import SOURCES, Profiles, Structure

# Okabe and Ito's colours, which people with any colour vision can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (9, 2)))
"""Of lines; as there are fewer than colours, both together repeat later than either."""
HIGHEST = 10.0
"""Free energies above this many kT are drawn alike: one sample in 22,000 of the deepest bin."""
MOST_PANELS = 4
"""Distances of a system that are drawn."""

ROWS = 6
"""Of panels in a figure: so many fit a sheet of paper. More are more figures."""
MOST_BONDS, BONDED = 24, 2
"""Bonds of a molecule that are drawn, of more, so many that are spread evenly; and molecules in a figure."""
MARKERS = "osD^vP"
BANDS = "bands are one standard error, by whole chains and trajectories where frames are not independent"
SET_NAMES: dict[str, str] = {"reference": "reference", "iid": "samples", "sim": "simulation"}
"""For people."""

Sets = Mapping[str, Totals]
"""The sets of a system that are drawn side by side, by their titles."""
Named = dict[str, tuple[str, Figure]]
"""Captions and figures, by the names of their files."""
Row = TypeVar("Row")


@dataclass(frozen=True)
class Line:
    """A histogram along an axis, and those of draws of the independent parts of its set."""

    counts: Counts
    draws: Int[np.ndarray, "draws bins"]
    """None of a set without parts."""
    independent: bool = True
    """Whether its frames are, where there are no draws."""

    @classmethod
    def of(cls, one: Totals, place: int, axis: int = 0) -> "Line":
        """Along one axis of a projection, by its place; over the other axis, where it has one, it is summed.

        What lies beyond the limits counts in no bin, but in the errors of the outermost.
        """
        others = tuple(each for each in range(one.inside[place].ndim) if each != axis)
        drawn = one.drawn[place][0].sum(axis=tuple(each + 1 for each in others))
        # Samples are parts of one frame; of what else has no draws nobody knows how its frames hang together.
        return cls(one.inside[place].sum(axis=others), drawn, one.spreads[place].parts == one.frames)

    @property
    def errors(self) -> Float[np.ndarray, "bins"]:
        """Standard errors (kT) of −ln p: by the spread of the draws, or by the number of independent frames.

        Not a number where half of the draws have no frame, and where there is neither.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            if len(self.draws):
                logs = np.log(self.draws / self.draws.sum(axis=1, keepdims=True))
                return np.array([_spread(values[np.isfinite(values)], len(logs)) for values in logs.T])
            known = np.sqrt(1 / self.counts - 1 / self.counts.sum())
        return known if self.independent else np.full(len(known), np.nan)


def _spread(values: Float[np.ndarray, "known"], draws: int) -> float:
    return float(np.std(values, ddof=1)) if 2 * len(values) > max(draws, 2) else np.nan


Panel = tuple[str, tuple[float, float], Mapping[str, Line]]
"""Label and limits of an axis, and what every set has along it."""


def styles() -> Iterator[dict[str, Any]]:
    """Of one line after another; they differ in dash as well as in colour."""
    both = zip(cycle(COLOURS), cycle(DASHES), strict=False)
    return ({"color": colour, "linestyle": dash} for colour, dash in both)


def free_energies(systems: Mapping[str, Sets]) -> Named:
    """Captions and figures of the free energies of systems, by what each is projected to."""
    shown = {label: next(iter(sets.values())).system.shown.grid for label, sets in systems.items()}
    planes = {label: sets for label, sets in systems.items() if len(shown[label].limits) == 2}
    found: Named = {}
    if planes:
        caption = "Free energy of the training data, of independent samples and of the simulation"
        grid = shown[next(iter(planes))]
        found |= in_figures(
            "free-energy", caption, _places(planes, _plane), lambda rows: free_energy_surfaces(rows, grid)
        )
    if torsions := {label: sets for label, sets in planes.items() if shown[label].periodic}:
        caption = f"Free energy along each torsion; {BANDS}"
        found |= in_figures("torsions", caption, _places(torsions, along_each), free_energy_profiles)
    if distances := {label: _distances(sets) for label, sets in systems.items() if label not in planes}:
        caption = f"Free energy along bonds and other distances; {BANDS}"
        found |= in_figures("distances", caption, distances, free_energy_profiles)
    return found


def in_figures(
    name: str,
    caption: str,
    rows: Mapping[str, Row],
    draw: Callable[[Mapping[str, Row]], Figure],
    most: int = ROWS,
) -> Named:
    """As many figures as the rows need, of which each has so many at most."""
    labels, found = [*rows], Named()
    for number, begin in enumerate(range(0, len(labels), most), start=1):
        some = labels[begin : begin + most]
        of = f" ({', '.join(some)})" if len(labels) > most else ""
        named = name if number == 1 else f"{name}-{number}"
        found[named] = f"{caption}{of}.", draw({label: rows[label] for label in some})
    return found


def _places(systems: Mapping[str, Sets], row: Callable[[Sets, int], Row]) -> dict[str, Row]:
    """A row for each projection of each system: every residue of every peptide."""
    return {
        f"{label} {projection.name}".strip() if len(projections) > 1 else label: row(sets, place)
        for label, sets in systems.items()
        for projections in [next(iter(sets.values())).system.projections]
        for place, projection in enumerate(projections)
    }


def _plane(sets: Sets, place: int) -> dict[str, Counts]:
    return {kind: one.inside[place] for kind, one in sets.items()}


def along_each(sets: Sets, place: int) -> list[Panel]:
    """The axes of a projection, over each of which the others are summed."""
    grid = next(iter(sets.values())).system.projections[place].grid
    return [
        (label, limits, {kind: Line.of(one, place, axis) for kind, one in sets.items()})
        for axis, (label, limits) in enumerate(zip(grid.labels, grid.limits, strict=True))
    ]


def _distances(sets: Sets) -> list[Panel]:
    projections = next(iter(sets.values())).system.projections
    places = spread_evenly(range(len(projections)), MOST_PANELS)
    return [panel for place in places for panel in along_each(sets, place)]


def free_energy_surfaces(rows: Mapping[str, Mapping[str, Counts]], grid: Grid) -> Figure:
    """One row of panels for each method, −ln p in kT on a common scale; empty bins stay white.

    Of points within the limits: the others, collected in the outermost bins, would look like a wall.
    """
    lines = [{title: _surface(counts) for title, counts in row.items()} for row in rows.values()]
    columns = max(len(line) for line in lines)
    highest = np.concatenate([s.compressed() for line in lines for s in line.values()]).max(initial=1.0)
    figure = Figure(figsize=(3.1 * columns + 0.9, 3.0 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, sharex=True, sharey=True, squeeze=False)
    image = None
    (left, right), (bottom, top) = grid.limits
    for panels, label, line in zip(axes, rows, lines, strict=True):
        for panel, (title, surface) in zip(panels, line.items(), strict=True):
            image = panel.imshow(
                surface.T,
                origin="lower",
                extent=(left, right, bottom, top),
                aspect="auto",
                vmin=0,
                vmax=min(highest, HIGHEST),
            )
            panel.set(title=title, xlabel=grid.labels[0], ylabel=f"{label}\n{grid.labels[1]}".strip())
            panel.label_outer()
    assert image is not None
    extend = "max" if highest > HIGHEST else "neither"
    figure.colorbar(image, ax=axes, label="free energy (kT)", extend=extend, aspect=20 * len(rows))
    return figure


def _surface(counts: Counts) -> np.ma.MaskedArray:
    """Free energy of the bins, empty ones masked."""
    if not counts.any():
        # Not masked_all, which leaves what memory held: some numbers make Matplotlib warn, at random.
        return np.ma.array(np.zeros(counts.shape), mask=True)
    return np.ma.masked_invalid(free_energy(counts))


def free_energy_profiles(rows: Mapping[str, Sequence[Panel]]) -> Figure:
    """One row of panels for each system: −ln p in kT along an axis, a line and its error for each set."""
    columns = max(map(len, rows.values()))
    figure = Figure(figsize=(4 * columns, 2.8 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, sharey="row", squeeze=False)
    for panels, (name, row) in zip(axes, rows.items(), strict=True):
        for panel in panels[len(row) :]:
            panel.set_axis_off()
        for panel, (label, (low, high), sets) in zip(panels, row, strict=False):
            for style, (kind, line) in zip(styles(), sets.items(), strict=False):
                edges = np.linspace(low, high, len(line.counts) + 1)
                profile = _surface(line.counts).filled(np.nan)
                _banded(panel, (edges[:-1] + edges[1:]) / 2, profile, line.errors, style, kind)
            panel.set(xlabel=label, xlim=(low, high), ylim=(0, None))
            panel.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel(f"{name}\nfree energy (kT)".strip())
    axes[0, 0].legend(frameon=False)
    return figure


def _banded(
    panel: Axes,
    places: Float[np.ndarray, "bins"],
    values: Float[np.ndarray, "bins"],
    errors: Float[np.ndarray, "bins"],
    style: Mapping[str, Any],
    label: str,
) -> None:
    """A line, and a band of its errors where they are known."""
    panel.plot(places, values, label=label, **style)
    around = np.nan_to_num(errors, posinf=0.0)  # Of what is not known, a band without width.
    panel.fill_between(
        places, values - around, values + around, color=style["color"], alpha=0.25, linewidth=0
    )


def free_energies_along_phi(rows: Mapping[str, Profiles]) -> Figure:
    """A panel for each system: free energies along φ, with a band of one standard error for each set."""
    figure = Figure(figsize=(6, 3.2 * len(rows)), layout="constrained")
    for panel, (name, profiles) in zip(
        figure.subplots(len(rows), squeeze=False)[:, 0], rows.items(), strict=True
    ):
        for style, (kind, one) in zip(styles(), profiles.sets.items(), strict=False):
            values = np.array(one.values)
            phi = -np.pi + 2 * np.pi * (np.arange(len(values)) + 0.5) / len(values)
            label = SET_NAMES.get(kind, kind)
            label += f" ({SOURCES[profiles.reference_from]})" if kind == "reference" else ""
            _banded(panel, phi, values, np.array(one.errors), style, label)
        panel.set(xlabel="φ", ylabel=f"{name}\nfree energy (kT)".strip(), xlim=(-np.pi, np.pi))
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False)
    return figure


def bond_lengths(structures: Mapping[str, Structure]) -> Figure:
    """Mean and spread of every bond in every set, from the reference's mean; a panel for each molecule."""
    some = {name: spread_evenly([*one.bonds.items()], MOST_BONDS) for name, one in structures.items()}
    heights = [0.3 * len(bonds) + 0.4 for bonds in some.values()]
    figure = Figure(figsize=(6, sum(heights) + 0.8), layout="constrained")
    panels = figure.subplots(len(some), squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for panel, (name, bonds) in zip(panels, some.items(), strict=True):
        for number, (style, kind) in enumerate(zip(styles(), SET_NAMES, strict=False)):
            means, spreads = 1000 * np.array([length.spread[kind] for _, length in bonds]).T
            origin = 1000 * np.array([length.spread["reference"][0] for _, length in bonds])
            rows = np.arange(len(bonds)) + 0.25 * (number - 1)
            shown = {"color": style["color"], "marker": MARKERS[number], "linestyle": "none", "markersize": 4}
            panel.errorbar(means - origin, rows, xerr=spreads, label=SET_NAMES[kind], **shown)
        panel.set_yticks(range(len(bonds)), [label for label, _ in bonds])
        panel.set(ylim=(len(bonds) - 0.5, -0.5), title=name)
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("length − mean of the reference (pm)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def spread_evenly(several: Sequence[Row], most: int) -> list[Row]:
    """All, or of more so many that are spread evenly over them."""
    return [several[i] for i in np.linspace(0, len(several) - 1, min(len(several), most)).round().astype(int)]


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    # Without the date and version the same figure gives the same bytes.
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def to_rgb_array(figure: Figure) -> UInt8[np.ndarray, "height width 3"]:
    """The figure as pixels, for TensorBoard."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
