"""Figures, as matplotlib Figure objects that no global state knows of."""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .metrics import Plane, Points, free_energy
from .observables import torsion_profile

# Okabe and Ito's colours, which people with any colour vision can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
PROFILE_BINS = 64
HIGHEST = 10.0
"""Free energies above this many kT are drawn alike: one sample in 22,000 of the deepest bin."""


def free_energy_surfaces(rows: Mapping[str, Mapping[str, Points]], plane: Plane) -> Figure:
    """One row of panels for each method, −ln p in kT on a common scale; empty bins stay white.

    Points beyond the limits are not drawn: collected in the outermost bins they would look like a wall.
    """
    lines = [{title: _surface(points, plane) for title, points in row.items()} for row in rows.values()]
    columns = max(len(line) for line in lines)
    highest = np.concatenate([s.compressed() for line in lines for s in line.values()]).max(initial=1.0)
    figure = Figure(figsize=(3.1 * columns + 0.9, 3.0 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, sharex=True, sharey=True, squeeze=False)
    image = None
    (left, right), (bottom, top) = plane.limits
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
            panel.set(title=title, xlabel=plane.labels[0], ylabel=f"{label}\n{plane.labels[1]}".strip())
            panel.label_outer()
    assert image is not None
    extend = "max" if highest > HIGHEST else "neither"
    figure.colorbar(image, ax=axes, label="free energy (kT)", extend=extend, aspect=20 * len(rows))
    return figure


def _surface(points: Points, plane: Plane) -> np.ma.MaskedArray:
    """Free energy of the points within the limits, empty bins masked."""
    x, y = points.T
    counts = np.histogram2d(x, y, bins=plane.js_bins, range=plane.limits)[0].astype(int)
    if not counts.any():
        return np.ma.masked_all(counts.shape)
    return np.ma.masked_invalid(free_energy(counts))


def torsion_profiles(rows: Mapping[str, Mapping[str, Points]], labels: tuple[str, str]) -> Figure:
    """One row for each system: free energies (kT) along both torsions, a line for each set of points."""
    figure = Figure(figsize=(8, 2.8 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 2, sharey="row", squeeze=False)
    centres = np.linspace(-np.pi, np.pi, PROFILE_BINS + 1)[:-1] + np.pi / PROFILE_BINS
    for panels, (name, sets) in zip(axes, rows.items(), strict=True):
        for axis, (panel, label) in enumerate(zip(panels, labels, strict=True)):
            for colour, (kind, points) in zip(cycle(COLOURS), sets.items(), strict=False):
                profile = torsion_profile(points[:, axis], PROFILE_BINS)
                panel.plot(centres, np.where(np.isfinite(profile), profile, np.nan), color=colour, label=kind)
            panel.set(xlabel=label, xlim=(-np.pi, np.pi), ylim=(0, None))
            panel.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel(f"{name}\nfree energy (kT)".strip())
    axes[0, 1].legend(frameon=False)
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
