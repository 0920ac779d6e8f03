"""Curves have a line for everything that they are given, and leave out what has no place on their axes."""

from math import nan

import numpy as np
import pytest
from matplotlib.axes import Axes

from fokker.analysis.campaign_results import Course
from fokker.analysis.report.curves import convergence, fokker_planck_curves, loss_curves
from fokker.analysis.report.figures import COLOURS, to_png

NOISE = np.random.default_rng(0)


def history(steps: int, residual: list[float] | None = None) -> dict[str, list[float]]:
    return {
        "step": [512.0 * (i + 1) for i in range(steps)],
        "denoising": list(1 / np.arange(1.0, steps + 1)),
        "consistency": residual or [0.0] * steps,
    }


def legend(panel: Axes) -> list[str]:
    found = panel.get_legend()
    return [text.get_text() for text in found.get_texts()] if found else []


def test_error_has_a_line_for_each_expert_on_logarithmic_axes():
    curves = {"0-0.1": ([1e-5, 1e-3], [0.5, 0.4]), "0.1-0.6": ([0.1, 0.3, 0.5], [6.0, 2.0, 1.0])}
    (panel,) = fokker_planck_curves(curves).axes
    assert (panel.get_xscale(), panel.get_yscale()) == ("log", "log")
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("diffusion time t", "mean |R| / D")
    assert legend(panel) == ["0-0.1", "0.1-0.6"]
    for line, (times, values) in zip(panel.lines, curves.values(), strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.transpose([times, values]))


def test_more_experts_than_colours_are_all_drawn():
    names = [f"expert {i}" for i in range(len(COLOURS) + 2)]
    (panel,) = fokker_planck_curves({name: ([0.1, 0.2], [1.0, 2.0]) for name in names}).axes
    assert legend(panel) == names
    (panel,) = loss_curves({name: history(5) for name in names}).axes
    assert legend(panel) == names


def test_losses_have_a_panel_each_and_lines_of_the_experts_that_used_them():
    figure = loss_curves({"0-0.1": history(40, [5.0] * 40), "0.1-1": history(20)})
    denoising, residual = figure.axes
    assert (denoising.get_ylabel(), residual.get_ylabel()) == (
        "denoising loss",
        "consistency term",
    )
    assert (legend(denoising), legend(residual)) == (["0-0.1", "0.1-1"], ["0-0.1"])
    assert denoising.get_yscale() == residual.get_yscale() == "log"
    raw, smooth = residual.lines
    np.testing.assert_array_equal(np.asarray(raw.get_xdata()), history(40)["step"])
    np.testing.assert_allclose(np.asarray(smooth.get_ydata()), 5)


def test_without_a_residual_there_is_no_panel_for_it():
    (panel,) = loss_curves({"0-1": history(20)}).axes
    assert panel.get_ylabel() == "denoising loss"


def test_a_residual_begins_where_it_counts():
    figure = loss_curves({"0-1": history(20, [0.0] * 15 + [3.0] * 5)})
    for line in figure.axes[1].lines:
        np.testing.assert_array_equal(np.asarray(line.get_xdata()), history(20)["step"][15:])
        np.testing.assert_allclose(np.asarray(line.get_ydata()), 3)


def test_smooth_lines_are_running_means_that_begin_with_the_first_value():
    values = list(NOISE.uniform(1, 2, 40))
    raw, smooth = loss_curves({"0-1": history(40, values)}).axes[1].lines
    np.testing.assert_allclose(np.asarray(raw.get_ydata()), values)
    means = np.asarray(smooth.get_ydata(), float)
    assert means[0] == pytest.approx(values[0])
    assert means[2] == pytest.approx(np.mean(values[:5]))
    assert means[20] == pytest.approx(np.mean(values[13:28]))
    assert means[-1] == pytest.approx(np.mean(values[-8:]))


@pytest.mark.parametrize("values", [[1.0, -0.5, 2.0, nan, 0.5], [-1.0] * 5, [nan] * 5])
def test_what_is_not_positive_is_left_out_and_draws_without_a_warning(values: list[float]):
    figure = loss_curves({"0-1": history(5, values)})
    raw = np.asarray(figure.axes[1].lines[0].get_ydata(), float)
    np.testing.assert_array_equal(raw, [value if value > 0 else nan for value in values])
    to_png(figure)


def test_one_entry_of_history_is_drawn():
    to_png(loss_curves({"0-1": history(1, [2.0])}))


def test_convergence_has_a_line_for_each_work():
    courses = {"a": Course([1.0, 2.0], [0.2, 0.1], [float("nan"), 0.01]), "b": Course([], [], [])}
    figure = convergence(courses, "ps")
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == ["a", "b"]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0.2, 0.1])
    assert axes.get_xlabel() == "time of each chain (ps)"


def test_the_floor_of_a_simulation_is_a_line_below_its_curve():
    (axes,) = convergence({"a": Course([1.0, 2.0], [0.2, 0.1], [nan, 0.01])}, "", {"a": 0.05}).axes
    assert legend(axes) == ["a", "floor a"]
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), [0.05, 0.05])
    assert axes.get_ylim()[0] < 0.05
    assert axes.get_xlabel() == "time of each chain"
