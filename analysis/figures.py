"""Figures, as matplotlib Figure objects that no global state knows of."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .metrics import Plane, Points, free_energy, histogram

# Okabe and Ito's colours, which people with any colour vision can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
HIGHEST = 10.0
"""Free energies above this many kT are drawn alike: one sample in 22,000 of the deepest bin."""


def free_energy_surfaces(rows: Mapping[str, Mapping[str, Points]], plane: Plane) -> Figure:
    """One row of panels for each method, −ln p in kT on a common scale; empty bins stay white."""
    columns = max(len(row) for row in rows.values())
    figure = Figure(figsize=(3.1 * columns + 0.9, 3.0 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, sharex=True, sharey=True, squeeze=False)
    image = None
    (left, right), (bottom, top) = plane.limits
    for line, (label, row) in zip(axes, rows.items(), strict=True):
        for panel, (title, points) in zip(line, row.items(), strict=True):
            energy = free_energy(histogram(points, plane, plane.js_bins))
            shown = np.ma.masked_invalid(energy).T
            image = panel.imshow(
                shown, origin="lower", extent=(left, right, bottom, top), aspect="auto", vmin=0, vmax=HIGHEST
            )
            panel.set_title(title)
            panel.set_xlabel(plane.labels[0])
        line[0].set_ylabel(f"{label}\n{plane.labels[1]}" if label else plane.labels[1])
    assert image is not None
    figure.colorbar(image, ax=axes, label="free energy (kT)", extend="max")
    return figure


def fokker_planck_curves(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Error over diffusion time, a line for each expert: its times and mean |R|/D."""
    figure, panel = _panel("diffusion time t", "mean |R| / D")
    for colour, (label, (times, errors)) in zip(COLOURS, curves.items(), strict=False):
        panel.plot(times, errors, color=colour, label=label, marker=".", markersize=4)
    panel.set(xscale="log", yscale="log")
    panel.legend(frameon=False)
    return figure


def loss_curves(history: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Both losses over steps, from the lists `step`, `denoising` and `fokker_planck` of each expert."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    parts = {"denoising": "denoising loss", "fokker_planck": "Fokker-Planck residual R²/D²"}
    for panel, (part, label) in zip(figure.subplots(1, 2), parts.items(), strict=True):
        for colour, (name, values) in zip(COLOURS, history.items(), strict=False):
            # A product of two noisy estimates can be negative, and has no place on a log axis.
            raw = np.where(np.asarray(values[part]) > 0, values[part], np.nan)
            if np.isfinite(raw).any():
                panel.plot(values["step"], raw, color=colour, alpha=0.25, linewidth=0.8)
                panel.plot(values["step"], _smooth(np.asarray(values[part])), color=colour, label=name)
        panel.set(xlabel="step", ylabel=label, yscale="log")
        panel.spines[["top", "right"]].set_visible(False)
        if panel.lines:
            panel.legend(frameon=False)
        else:
            panel.set_axis_off()
    return figure


def _smooth(values: Float[np.ndarray, "n"], window: int = 15) -> Float[np.ndarray, "n"]:
    """Running mean over up to `window` neighbours; what is not positive has no place on a log axis."""
    width = min(window, len(values))
    weight = np.convolve(np.ones(len(values)), np.ones(width), mode="same")
    mean = np.convolve(values, np.ones(width), mode="same") / weight
    return np.where(mean > 0, mean, np.nan)


def _panel(xlabel: str, ylabel: str):
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    panel = figure.subplots()
    panel.set(xlabel=xlabel, ylabel=ylabel)
    panel.spines[["top", "right"]].set_visible(False)
    return figure, panel


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
