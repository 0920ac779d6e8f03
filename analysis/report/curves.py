"""Curves over diffusion time, steps of training and simulated time."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from ..campaign_results import Course
from .figures import styles


def convergence(
    courses: Mapping[str, Course], unit: str, floors: Mapping[str, float] | None = None
) -> Figure:
    """Mean JS over the simulated time of each chain, with one standard error, a line for each work.

    `unit` is that of the time; empty where it has no name. `floors` are those of the whole simulations, where
    there are few enough to be told apart: thin lines.
    """
    figure = Figure(figsize=(5.5, 3.4), layout="constrained")
    panel = figure.subplots()
    for style, (name, course) in zip(styles(), courses.items(), strict=False):
        time, js, error = (np.asarray(each, float) for each in (course.time, course.js, course.errors))
        panel.plot(time, js, label=name, marker=".", markersize=4, **style)
        panel.fill_between(time, js - error, js + error, color=style["color"], alpha=0.2, linewidth=0)
        if floors:
            panel.axhline(floors[name], color=style["color"], linewidth=0.8, label=f"floor {name}".strip())
    time = f"time of each chain ({unit})" if unit else "time of each chain"
    panel.set(xlabel=time, ylabel="JS (nats)", ylim=(0, None))
    panel.spines[["top", "right"]].set_visible(False)
    if courses:
        panel.legend(frameon=False)
    return figure


def fokker_planck_curves(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Error over diffusion time, a line for each expert: its times and mean |R|/D."""
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    panel = figure.subplots()
    for style, (label, (times, errors)) in zip(styles(), curves.items(), strict=False):
        panel.plot(times, errors, label=label, marker=".", markersize=4, **style)
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
        for style, (name, values) in zip(styles(), history.items(), strict=False):
            used = np.flatnonzero(values[part])  # A term that does not count yet is 0.
            if used.size:
                steps, raw = (np.asarray(values[key], float)[used] for key in ("step", part))
                panel.plot(steps, _on_log_axis(raw), color=style["color"], alpha=0.25, linewidth=0.8)
                panel.plot(steps, _on_log_axis(_smooth(raw)), label=name, **style)
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
