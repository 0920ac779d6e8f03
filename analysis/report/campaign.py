"""What people look at of a campaign: a table, curves for TensorBoard, figures, and one page."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf, isfinite, nan

from ..campaign_results import Against, WorkResult
from ..statistics.timescales import FRACTIONS

TABLE_HEADER = ("work", "frames", "lost", "JS ± error", "floor", "R̂", "ESS", "ESS/core-h")
KINETICS_HEADER = ("work", "t₂ (ps)", "of the reference", "ratio", *(f"at {part:g} t₂" for part in FRACTIONS))
WIDTH = 80
"""Columns of a terminal."""


def table(results: Iterable[WorkResult]) -> list[tuple[str, ...]]:
    """`TABLE_HEADER` and a row for each work, which fit into a terminal; long names are cut in the middle."""
    return _fitting([TABLE_HEADER, *(row(one) for one in results)])


def kinetics_table(results: Iterable[WorkResult]) -> list[tuple[str, ...]]:
    """`KINETICS_HEADER` and a row for each work whose reference is in order of time; empty if none is.

    Slowest times, and how far apart both are at equal fractions of each one's own (0 to 1).
    """
    rows = []
    for one in results:
        if (found := one.kinetics) and found.reference:
            ratio = nan if found.ratio is None else found.ratio
            times = (known(time, ".3g") for time in (found.model.slowest, found.reference.slowest, ratio))
            apart = dict(zip(found.fractions, found.distances, strict=True))
            rows.append((one.name, *times, *(known(apart.get(part, nan), ".3f") for part in FRACTIONS)))
    return _fitting([KINETICS_HEADER, *rows]) if rows else []


def _fitting(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    others = sum(max(len(row[column]) for row in rows) for column in range(1, len(rows[0])))
    room = max(8, WIDTH - others - len(rows[0]) + 1)
    return [(_cut(row[0], room), *row[1:]) for row in rows]


def scalars(result: WorkResult) -> dict[str, float]:
    """What TensorBoard shows of a work; what is not known is left out."""
    found: dict[str, float | None] = {
        "campaign/frames": result.frames,
        "campaign/missing": result.missing,
        "campaign/ess": result.ess,
        "campaign/rhat": result.rhat,
        "campaign/ess_per_hour": result.ess_per_hour,
        "campaign/ess_per_million_evaluations": result.ess_per_million,
        "campaign/kinetic_temperature": result.kinetic_temperature,
        "campaign/rms_omega_dt": result.rms_omega_dt,
    }
    for name, against in _comparisons(result).items():
        found |= {f"js/{name}": against.js.value, f"js_error/{name}": against.js.error}
        found |= {f"js_floor/{name}": against.floor_spread, f"pmf/{name}": against.pmf.value}
    return {tag: float(value) for tag, value in found.items() if value is not None and isfinite(value)}


def _comparisons(result: WorkResult) -> Mapping[str, Against]:
    named = {name: one.against for name, one in result.projections.items()} | {"mean": result.mean}
    return {name: against for name, against in named.items() if against}


def row(result: WorkResult) -> tuple[str, ...]:
    """For people, below `TABLE_HEADER`; what is not known is left empty."""
    mean = result.mean
    js = f"{mean.js.value:.4f}" if mean and isfinite(mean.js.value) else ""
    error = f" ± {mean.js.error:.4f}" if js and mean and isfinite(mean.js.error) else ""
    return (
        result.name,
        short(result.frames),
        f"{result.missing:.1%}" if isfinite(result.missing) else "",
        js + error,
        known(mean.floor_spread if mean else nan, ".4f"),
        known(result.rhat, ".3f"),
        short(result.ess),
        short(result.ess_per_hour),
    )


def known(value: float, form: str) -> str:
    """For people: empty for what is not a number."""
    return f"{value:{form}}" if value == value and abs(value) < inf else "∞" if value == inf else ""


def short(value: float | int) -> str:
    """A count in a few characters: 950, 12.5k, 3.00M."""
    if not isfinite(value):
        return ""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            return f"{value / {'G': 1e9, 'M': 1e6, 'k': 1e3}[unit]:.3g}{unit}"
    return f"{value:.0f}"


def _cut(name: str, room: int) -> str:
    half: Sequence[int] = ((room - 1) // 2, room - 1 - (room - 1) // 2)
    return name if len(name) <= room else f"{name[: half[0]]}…{name[-half[1] :]}"
