"""Figures, as matplotlib Figure objects that no global state knows of."""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..metrics import Counts, Grid, free_energy
from ..reduction import Totals
from ..results import SOURCES, Profiles

# Okabe and Ito's colours, which people with any colour vision can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
HIGHEST = 10.0
"""Free energies above this many kT are drawn alike: one sample in 22,000 of the deepest bin."""
MOST_PANELS = 4
"""Distances of a system that are drawn."""

Sets = Mapping[str, Totals]
"""The sets of a system that are drawn side by side, by their titles."""


def free_energies(systems: Mapping[str, Sets]) -> dict[str, tuple[str, Figure]]:
    """By name, captions and figures of the free energies of systems, by what each is projected to."""
    found, shown = {}, {label: next(iter(sets.values())).system.shown.grid for label, sets in systems.items()}
    planes = {label: sets for label, sets in systems.items() if len(shown[label].limits) == 2}
    if planes:
        surfaces = {label: {kind: one.shown for kind, one in sets.items()} for label, sets in planes.items()}
        found["free-energy"] = (
            "Free energy of the training data, of independent samples and of the simulation.",
            free_energy_surfaces(surfaces, shown[next(iter(planes))]),
        )
    torsions = {label: _along_each(sets) for label, sets in planes.items() if shown[label].periodic}
    if torsions:
        found["torsions"] = "Free energy along each torsion.", free_energy_profiles(torsions)
    distances = {label: _distances(sets) for label, sets in systems.items() if label not in planes}
    if distances:
        found["distances"] = "Free energy along bonds and other distances.", free_energy_profiles(distances)
    return found


Panel = tuple[str, tuple[float, float], Mapping[str, Counts]]
"""Label and limits of an axis, and the histogram of every set along it."""


def _along_each(sets: Sets) -> list[Panel]:
    """The axes of the projection that is shown, over each of which the others are summed."""
    grid = next(iter(sets.values())).system.shown.grid
    return [
        (label, limits, {kind: one.shown.sum(axis=1 - axis) for kind, one in sets.items()})
        for axis, (label, limits) in enumerate(zip(grid.labels, grid.limits, strict=True))
    ]


def _distances(sets: Sets) -> list[Panel]:
    projections = next(iter(sets.values())).system.projections
    places = np.linspace(0, len(projections) - 1, min(len(projections), MOST_PANELS)).round().astype(int)
    return [
        (
            projections[place].grid.labels[0],
            projections[place].grid.limits[0],
            {kind: one.inside[place] for kind, one in sets.items()},
        )
        for place in places
    ]


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
    """One row of panels for each system, −ln p in kT along an axis, with a line for each set."""
    columns = max(map(len, rows.values()))
    figure = Figure(figsize=(4 * columns, 2.8 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, sharey="row", squeeze=False)
    for panels, (name, row) in zip(axes, rows.items(), strict=True):
        for panel in panels[len(row) :]:
            panel.set_axis_off()
        for panel, (label, (low, high), sets) in zip(panels, row, strict=False):
            for colour, (kind, counts) in zip(cycle(COLOURS), sets.items(), strict=False):
                edges = np.linspace(low, high, len(counts) + 1)
                profile = _surface(counts).filled(np.nan)
                panel.plot((edges[:-1] + edges[1:]) / 2, profile, color=colour, label=kind)
            panel.set(xlabel=label, xlim=(low, high), ylim=(0, None))
            panel.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel(f"{name}\nfree energy (kT)".strip())
    axes[0, 0].legend(frameon=False)
    return figure


def free_energies_along_phi(rows: Mapping[str, Profiles]) -> Figure:
    """A panel for each system: free energies along φ, with a band of one standard error for each set."""
    figure = Figure(figsize=(6, 3.2 * len(rows)), layout="constrained")
    for panel, (name, profiles) in zip(
        figure.subplots(len(rows), squeeze=False)[:, 0], rows.items(), strict=True
    ):
        for colour, (kind, one) in zip(cycle(COLOURS), profiles.sets.items(), strict=False):
            values, errors = np.array(one.values), np.nan_to_num(one.errors)
            phi = -np.pi + 2 * np.pi * (np.arange(len(values)) + 0.5) / len(values)
            label = f"{kind} ({SOURCES[profiles.reference_from]})" if kind == "reference" else kind
            panel.plot(phi, values, color=colour, label=label)
            panel.fill_between(phi, values - errors, values + errors, color=colour, alpha=0.25, linewidth=0)
        panel.set(xlabel="φ", ylabel=f"{name}\nfree energy (kT)".strip(), xlim=(-np.pi, np.pi))
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False)
    return figure


def fokker_planck_curves(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Error over diffusion time, a line for each expert: its times and mean |R|/D."""
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    panel = figure.subplots()
    for colour, (label, (times, errors)) in zip(cycle(COLOURS), curves.items(), strict=False):
        panel.plot(times, errors, color=colour, label=label, marker=".", markersize=4)
    panel.set(xlabel="diffusion time t", ylabel="mean |R| / D", xscale="log", yscale="log")
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False)
    return figure


def loss_curves(history: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Losses over steps, from the lists `step`, `denoising` and `consistency` of each expert.

    The consistency term has a panel only where an expert used it.
    """
    panels = {"denoising": "denoising loss"}
    if any(np.any(values["consistency"]) for values in history.values()):
        panels["consistency"] = "consistency term"
    figure = Figure(figsize=(4.5 * len(panels), 3.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)
    for panel, (part, label) in zip(axes.flat, panels.items(), strict=True):
        for colour, (name, values) in zip(cycle(COLOURS), history.items(), strict=False):
            used = np.flatnonzero(values[part])  # A term that does not count yet is 0.
            if used.size:
                steps, raw = (np.asarray(values[key], float)[used] for key in ("step", part))
                panel.plot(steps, _on_log_axis(raw), color=colour, alpha=0.25, linewidth=0.8)
                panel.plot(steps, _on_log_axis(_smooth(raw)), color=colour, label=name)
        panel.set(xlabel="step", ylabel=label, yscale="log")
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False)
    return figure


def _on_log_axis(values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Without what is not positive: a product of two noisy estimates can be."""
    return np.where(values > 0, values, np.nan)


def _smooth(values: Float[np.ndarray, "n"], window: int = 15) -> Float[np.ndarray, "n"]:
    """Running mean over up to `window` neighbours; it begins with the first value, where losses fall fast."""
    reach = np.minimum(np.arange(len(values)), window // 2)
    return np.array([values[i - r : i + r + 1].mean() for i, r in enumerate(reach)])


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
