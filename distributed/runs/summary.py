"""What trajectories hold, as `fokker dataset` prints it: a row a system, and warnings."""

from collections.abc import Mapping, Sequence
from functools import partial

from ...data.molecules.residues import MoleculeError
from ...data.readers.found import Found
from ...data.readers.pooling import DEFAULT_SPLIT, Pool, repeated
from ...data.readers.sources import Conditions, Source
from .display import Display

UNKNOWN = "–"
Entry = tuple[Source, Found]


def summarise(
    pools: Sequence[Pool], founds: Mapping[str, Sequence[Found]], display: Display, each: bool = False
) -> None:
    """A row for each split of each molecule, a row for each trajectory where that is asked, and warnings.

    `founds` has of each molecule, by name, what reading its trajectories found, in their order.
    """
    entries = {pool.name: [*zip(pool.sources, founds[pool.name], strict=True)] for pool in pools}
    rows = [
        _row(pool, split, [entry for entry in entries[pool.name] if _split(entry[0]) == split])
        for pool in pools
        for split in pool.splits
    ]
    units = dict.fromkeys(found.unit for parts in founds.values() for found in parts)
    if len(units) == 1:
        display.stage("", f"unit: {next(iter(units))}")
    splits = dict.fromkeys(split for p in pools for split in p.splits)
    if len(splits) == 1:
        said = any(source.split for p in pools for source in p.sources)
        display.stage("", f"split: {next(iter(splits))}{'' if said else ', as no folder says another'}")
    header = ("system", "sequence", "split", "files", "frames", "spacing", "time", "atoms", "unit")
    display.table(*without_repeats(header, rows))
    if each:
        trajectories(
            [
                (source.place, name, _split(source), found.frames, found.spacing)
                for name, parts in entries.items()
                for source, found in parts
            ],
            display,
        )
    for pool in pools:
        warn(pool, entries[pool.name], display)


def _split(source: Source) -> str:
    return source.split or DEFAULT_SPLIT


def trajectories(rows: Sequence[tuple[str, str, str, int, float | None]], display: Display) -> None:
    """A row for each trajectory: its place, system, split, number of frames, and spacing in ps."""
    display.table(
        ("trajectory", "system", "split", "frames", "spacing", "time"),
        [
            (place, system, split, frames, picoseconds(spacing), _time([(frames, spacing)]))
            for place, system, split, frames, spacing in rows
        ],
    )


def picoseconds(spacing: float | None) -> str:
    """A time between frames."""
    return UNKNOWN if spacing is None else f"{spacing:g} ps"


def common_spacing(spacings: Sequence[float | None]) -> str:
    """That of all trajectories of a molecule."""
    return "differs" if len(set(spacings)) > 1 else picoseconds(next(iter(spacings), None))


def conditions_line(conditions: Sequence[Conditions]) -> str:
    """All that are there, to be read."""
    return "conditions: " + "; ".join(dict.fromkeys(part.line for part in conditions))


def _row(pool: Pool, split: str, entries: Sequence[Entry]) -> tuple[str, ...]:
    first = entries[0][0]
    found = [found for _, found in entries]
    units, atoms = (
        dict.fromkeys(words) for words in zip(*((f.unit, str(f.atoms)) for f in found), strict=True)
    )
    return (
        pool.name,
        _sequence(first),
        split,
        str(len(entries)),
        str(sum(part.frames for part in found)),
        common_spacing([part.spacing for part in found]),
        _time([(part.frames, part.spacing) for part in found]),
        ", ".join(atoms),
        ", ".join(units),
    )


def _sequence(source: Source) -> str:
    try:
        return source.sequence
    except MoleculeError:
        return UNKNOWN


def _time(parts: Sequence[tuple[int, float | None]]) -> str:
    """Of all frames together."""
    if any(spacing is None for _, spacing in parts):
        return UNKNOWN
    total = sum(frames * (spacing or 0.0) for frames, spacing in parts)
    return f"{total / 1000:.4g} ns" if total >= 1000 else f"{total:.4g} ps"


def without_repeats(
    header: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """Without columns that repeat another, or say nothing, or say the same of all."""
    columns = {name: [row[number] for row in rows] for number, name in enumerate(header)}
    if columns["sequence"] == columns["system"]:
        columns.pop("sequence")
    for name in ("spacing", "time"):
        if set(columns.get(name, [])) == {UNKNOWN}:
            columns.pop(name)
    for name in ("split", "unit"):
        if len(set(columns.get(name, [1, 2]))) == 1:
            columns.pop(name)
    return [*columns], [list(row) for row in zip(*columns.values(), strict=True)]


def warn(pool: Pool, entries: Sequence[Entry], display: Display) -> None:
    """What the user has to know of a molecule's trajectories."""
    say = partial(display.stage, "warning")
    for source, found in entries:
        left_out = []
        if found.broken:
            frames = "1 broken frame is" if found.broken == 1 else f"{found.broken} broken frames are"
            left_out.append(f"{frames} left out, the first is {found.first_broken}")
        if found.problem:
            left_out.append(f"{found.problem}, and is left out from there")
        if left_out:
            say(f"{source.path}: {'; '.join(left_out)}")
        if found.stray:
            say(
                f"{source.path}: {found.stray} of {found.frames} frames have hydrogens where none can be, "
                f"which are no beads and change nothing ({found.first_stray})"
            )
        if found.mirrored:
            say(
                f"{source.path}: {found.mirrored} of {found.frames} frames have a residue of the wrong hand "
                f"at CA ({found.first_mirrored}): mirror images of L-amino acids are another molecule"
            )
        for gap in found.gaps:
            say(gap)
    same, twice = repeated([found for _, found in entries])
    if same:
        total = sum(found.frames for _, found in entries)
        say(f"{pool.name}: {same} of {total} frames repeat the frame before")
    for (first, second), count in twice.items():
        frames = entries[second][1].frames
        what = "the same frames" if count == frames else f"{count} of {frames} frames in common"
        say(
            f"{pool.name}: {entries[first][0].place} and {entries[second][0].place} hold {what}, which count "
            "twice"
        )
    if len(pool.splits) > 1:
        display.stage(
            "note", f"{pool.name} is in {' and '.join(pool.splits)}: it is judged on a known molecule"
        )
    forces = [source.forces for source, _ in entries if source.forces]
    if forces:
        display.stage("note", f"{', '.join(forces)}: forces are there, and are not used")
