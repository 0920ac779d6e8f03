"""Figures and the page of a campaign."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from matplotlib.figure import Figure

from ...model.config import START_WORDS
from ..campaign_results import CampaignResult, KineticsResult, LengthResult, WorkResult
from ..systems import System
from .campaign import TABLE_HEADER, known, row, short
from .curves import convergence
from .figures import Sets, along_each, free_energy_profiles, free_energy_surfaces, spread_evenly, to_png
from .page import CampaignReport, Table, render_campaign

T = TypeVar("T")
MOST_PROJECTIONS, MOST_WORKS = 8, 12
"""Of a system, and of a campaign, that are drawn; of more, those that are spread evenly over all."""


def free_energies(sets: Sets) -> Figure:
    """−ln p (kT) of each projection, the sets of a work (`reference`, `simulation`) beside one another."""
    system = next(iter(sets.values())).system
    places = spread_evenly(range(len(system.projections)), MOST_PROJECTIONS)
    if len(system.shown.grid.limits) == 2:
        rows = {
            _label(system, place): {kind: one.inside[place] for kind, one in sets.items()} for place in places
        }
        return free_energy_surfaces(rows, system.shown.grid)
    panels = [panel for place in places for panel in along_each(sets, place)]
    return free_energy_profiles({"": panels[:4]} | ({" ": panels[4:]} if panels[4:] else {}))


def _label(system: System, place: int) -> str:
    return system.projections[place].name if len(system.projections) > 1 else ""


def page(
    title: str,
    result: CampaignResult,
    drawn: Mapping[str, Sets],
    config: Mapping[str, Any],
    made_from: str = "",
) -> str:
    """One HTML file; `drawn` are the sets of works by their names, `config` the settings of the campaign."""
    courses = {name: one.course for name, one in result.works.items() if one.course and one.course.time}
    figures = []
    if courses:
        some = _chosen(courses)
        unit = result.works[next(iter(some))].time_unit  # A campaign is of molecules, or of toys.
        figures.append((f"JS over simulated time{_of(some, courses)}.", to_png(convergence(some, unit))))
    some = _chosen(drawn)
    figures += [(f"Free energy of {name} (kT).", to_png(free_energies(sets))) for name, sets in some.items()]
    works, start = result.works.values(), config.get("start")
    cost = [(one.name, *_cost(one)) for one in works]
    return render_campaign(
        CampaignReport(
            title=title,
            subtitle=f"{len(works)} {'work' if len(works) == 1 else 'works'}, {result.chains:,} chains, "
            f"{short(result.frames)} frames, "
            f"{short(result.steps)} steps, {result.seconds / 3600:.2f} core-hours, at {result.when}"
            + (f"; replicas start at {START_WORDS.get(start, start)}" if start else ""),
            header=TABLE_HEADER,
            rows=[row(one) for one in works],
            warnings=[text for one in works for text in warnings(one)],
            figures=figures,
            tables=[("Cost and heat", COST, cost), *(table for one in works for table in tables(one))],
            config=config,
            made_from=made_from,
        )
    )


COST = (
    "work",
    "steps",
    "core-hours",
    "ESS/core-h",
    "ESS/million evaluations",
    "temperature, half-step",
    "rms ω dt",
)


def _cost(one: WorkResult) -> tuple[str, ...]:
    heat = "" if one.kinetic_temperature is None else f"{one.kinetic_temperature:.2f}"
    return (
        short(one.steps),
        f"{one.seconds / 3600:.3f}",
        short(one.ess_per_hour),
        known(one.ess_per_million, ".3g"),
        f"{heat} (bath: {one.temperature:g})",
        "" if one.rms_omega_dt is None else f"{one.rms_omega_dt:.2f}",
    )


def warnings(one: WorkResult) -> list[str]:
    """What went wrong in a work, in words."""
    found = []
    if one.lost:
        reasons = ", ".join(f"{count} {reason}" for reason, count in one.lost.items())
        text = f"{one.name}: {sum(one.lost.values())} of {one.chains} chains were lost ({reasons})"
        text += f", and with them {one.missing:.2%} of the frames"
        if one.mean:
            low, high = one.mean.js_interval
            text += f"; JS of all frames is between {low:.4f} and {high:.4f}"
        found.append(text + ".")
    if one.kinetics and one.kinetics.note:
        found.append(f"{one.name}: {one.kinetics.note}.")
    return found


def tables(one: WorkResult) -> list[Table]:
    """Projections, lengths and kinetics of a work."""
    found: list[Table] = [(f"{one.name}: projections", PROJECTION, [*_projections(one)])]
    lengths = one.bonds | one.distances
    if lengths:
        rows = [(label, *_length(length)) for label, length in lengths.items()]
        found.append((f"{one.name}: lengths (pm)", ("length", "mean ± spread", "reference", "W1"), rows))
    if one.kinetics:
        title = f"{one.name}: kinetics of unbroken chains"
        title += "" if one.time_unit else ", times in the potential's own unit"
        found.append((title, KINETICS, _kinetics(one.kinetics, one.time_unit)))
    return found


PROJECTION = ("projection", "JS ± error", "JS corrected", "interval", "floor (effective)", "PMF", "R̂", "ESS")


def _projections(one: WorkResult) -> Sequence[tuple[str, ...]]:
    rows = []
    for name, each in one.projections.items():
        beside = [""] * 5
        if found := each.against:
            low, high = found.js_interval
            beside = [
                f"{found.js.value:.4f} ± {known(found.js.error, '.4f')}",
                known(found.js.corrected, ".4f"),
                f"{low:.4f}–{high:.4f}",
                f"{found.floor_spread:.4f} ({known(found.floor_effective, '.4f')})",
                f"{found.pmf.value:.4f} ± {known(found.pmf.error, '.4f')}",
            ]
        rows.append((name, *beside, known(each.rhat, ".3f"), short(each.ess)))
    return rows


def _length(length: LengthResult) -> tuple[str, ...]:
    def both(mean: float | None, spread: float | None) -> str:
        return "" if mean is None or spread is None else f"{1000 * mean:.1f} ± {1000 * spread:.1f}"

    w1 = length.w1
    apart = f"{1000 * w1.value:.2f} ± {known(1000 * w1.error, '.2f')}" if w1 else ""
    return both(length.mean, length.spread), both(length.reference_mean, length.reference_spread), apart


KINETICS = ("quantity", "simulation", "reference")


def _kinetics(found: KineticsResult, unit: str) -> list[tuple[str, ...]]:
    sides = (found.model, found.reference)
    time, rate_unit = (f" {unit}", f" /{unit}") if unit else ("", "")
    rows = []
    for name in found.model.rates:
        rates = [side.rates[name] if side else None for side in sides]
        texts = [
            f"{rate.count} in {_plain(rate.time)}{time}: {rate.low:.3g} to {rate.high:.3g}{rate_unit}"
            if rate
            else ""
            for rate in rates
        ]
        rows.append((f"transitions, {name}", *texts))
        passages = (_plain(rate.first_passage) if rate else "" for rate in rates)
        rows.append((f"mean time, {name}{_in(unit)}", *passages))
    slowest = (_plain(side.slowest) if side else "" for side in sides)
    rows.append((f"slowest time t₂{_in(unit)}", *slowest))
    if found.ratio is not None:
        rows.append(("t₂ of the simulation by that of the reference", known(found.ratio, ".3g"), ""))
    for fraction, distance in zip(found.fractions, found.distances, strict=True):
        rows.append((f"difference after {fraction:g} t₂ of each", known(distance, ".3f"), ""))
    return rows


def _plain(time: float) -> str:
    """Without an exponent, which long times would have."""
    return known(time, ",.0f" if time >= 1000 else ".4g")


def _in(unit: str) -> str:
    return f" ({unit})" if unit else ""


def _chosen(named: Mapping[str, T]) -> dict[str, T]:
    return {name: named[name] for name in spread_evenly([*named], MOST_WORKS)}


def _of(some: Mapping[str, Any], every: Mapping[str, Any]) -> str:
    return f", {len(some)} of {len(every)} works" if len(some) < len(every) else ""
