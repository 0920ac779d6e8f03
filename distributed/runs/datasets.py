"""Datasets as users make them and look at them: OpenMM references, conversion to beads, inspection."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray

from ...analysis.metrics import RAMACHANDRAN, Counts, histogram
from ...analysis.projections import Projection, ramachandran
from ...analysis.reduction import BLOCK
from ...analysis.report import figures
from ...data import fence, files
from ...data.config import MoleculesConfig
from ...data.dataset import convert as conversion
from ...data.dataset.convert import check, finish_conversion, paths_of, sources_of
from ...data.dataset.shards import MANIFEST, Dataset
from ...data.files import FileError, file_error, require_writable
from ...data.molecules.bead_map import BeadMap
from ...data.molecules.beads import Beads, require_torsions
from ...data.molecules.residues import MoleculeError, parse_sequence
from ...data.readers.found import Found
from ...data.readers.pooling import DEFAULT_SPLIT, Pool, pool
from ...data.readers.sources import Conditions, Source
from ...data.reference.building import require_openmm
from ...data.reference.dynamics import Reference
from .. import tasks
from ..cluster import joining
from ..config import ClusterConfig
from .config import ConfigError
from .display import Display
from .summary import UNKNOWN, common_spacing, conditions_line, summarise, trajectories, without_repeats

POLL_SECONDS = 1.0
FEW_CROSSINGS = 20
"""Of all φ together, below which the weights of the modes mean little."""


def generate(references: Sequence[Reference], config: ClusterConfig, display: Display) -> None:
    """Simulate what is not on disk, a Ray task for each walker of each peptide; prints what came out.

    Raises MoleculeError for a sequence that cannot be built, or if OpenMM is not installed.
    """
    require_openmm()
    for reference in references:
        parse_sequence(reference.sequence)
    missing = [reference for reference in references if not reference.finished]
    if missing:
        joining.connect(config)
        tasks_left = [
            tasks.submit(Reference.walk, reference, walker)
            for reference in missing
            for walker in range(reference.config.walkers)
        ]
        with display.watching():
            while tasks_left:
                done, tasks_left = ray.wait(tasks_left, num_returns=len(tasks_left), timeout=POLL_SECONDS)
                ray.get(done)
                display.parts(
                    "peptide", {r.sequence: (r.done(), r.blocks * r.config.walkers) for r in missing}
                )
        ray.get([tasks.submit(Reference.finish, reference) for reference in missing])
    for reference in references:
        report = reference.finish()
        parts = ", ".join(f"{part:.4f}" for part in report["phi_positive"]) or "none"
        display.stage(
            "reference",
            f"{reference.sequence}: {report['frames']} frames of {report['effective_samples']:.0f} effective "
            f"samples, {report['phi_crossings']} φ crossings, p(φ > 0) {parts}",
        )
        if report["phi_positive"] and report["phi_crossings"] < FEW_CROSSINGS:
            display.stage(
                "warning",
                f"{reference.sequence}: too few crossings for the weights of its modes: take a longer "
                "learning and production",
            )


def convert(
    config: MoleculesConfig,
    directory: Path,
    origin: Mapping[str, Any],
    on: ClusterConfig,
    display: Display,
    each: bool = False,
) -> str:
    """Map the trajectories at `config.path` to beads, a Ray task for each; the dataset's fingerprint.

    Those of one molecule become one system; `each` prints a row for every one of them as well. A dataset that
    was converted before is copied. Raises MoleculeError for what cannot be read, ConfigError if a copied
    dataset is of another bead map, FileError if there is no room.
    """
    bead_map = BeadMap.parse(config.beads)
    paths = paths_of(config.path or "")
    if len(paths) == 1 and (paths[0] / MANIFEST).exists():
        return _copy(Dataset(paths[0]), bead_map, directory, display)
    sources = sources_of(config)
    pools = pool(sources, bead_map)
    conditions = check(pools)
    display.stage("data", f"{_counted(sources, pools)} to beads ({config.beads})")
    display.stage("", conditions_line([conditions]))
    directory = directory.absolute()
    # All beads, as parts and as systems, as far as the files tell how many frames they hold.
    numbers = (len(p.beads(bead_map)) * sum(source.frames or 0 for source in p.sources) for p in pools)
    require_writable(directory, 24 * sum(numbers))
    joining.connect(on)
    founds = _convert(pools, bead_map, directory, display)
    summarise(pools, founds, display, each)
    return finish_conversion(directory, pools, {**origin, "beads": bead_map.to_json()}).fingerprint


def _convert(
    pools: Sequence[Pool], bead_map: BeadMap, directory: Path, display: Display
) -> dict[str, list[Found]]:
    """A task for each trajectory, and one for each molecule when its trajectories are done."""
    parts = {
        p.name: [tasks.submit(conversion.convert, source, bead_map, directory) for source in p.sources]
        for p in pools
    }
    left = [part for those in parts.values() for part in those]
    count, waiting, last = len(left), {p.name: p for p in pools}, []
    with display.watching():
        while left:
            (done,), left = ray.wait(left)
            ray.get(done)
            display.parts("trajectory", {"": (count - len(left), count)})
            going = set(left)
            for name in [name for name in waiting if going.isdisjoint(parts[name])]:
                last.append(tasks.submit(conversion.write_pool, waiting.pop(name), bead_map, directory))
    ray.get(last)
    return {name: ray.get(those) for name, those in parts.items()}


def _counted(sources: Sequence[Source], pools: Sequence[Pool]) -> str:
    layouts = ", ".join(dict.fromkeys(source.layout for source in sources))
    trajectories = "1 trajectory" if len(sources) == 1 else f"{len(sources)} trajectories"
    return f"{trajectories} of {layouts}, {'1 system' if len(pools) == 1 else f'{len(pools)} systems'}"


def _copy(dataset: Dataset, bead_map: BeadMap, directory: Path, display: Display) -> str:
    found, wanted = dataset.manifest["source"].get("beads"), bead_map.to_json()
    if found != wanted:
        raise ConfigError(
            f"{dataset.directory} was converted to the beads {found}, not {wanted}: convert the trajectories "
            "again, or set the beads that they are",
            "data.beads",
        )
    display.stage("data", f"the dataset {dataset.directory} ({dataset.fingerprint[:12]}) is copied")
    try:
        # The manifest last: without one a dataset is unfinished.
        passed_over = shutil.ignore_patterns(MANIFEST, fence.FILE, ".*")
        shutil.copytree(dataset.directory, directory, ignore=passed_over, dirs_exist_ok=True)
    except OSError as error:
        raise file_error(directory, error) from None
    files.write(directory / MANIFEST, (dataset.directory / MANIFEST).read_bytes())
    return dataset.fingerprint


def inspect(
    path: Path, figure: Path | None, config: MoleculesConfig, display: Display, each: bool = False
) -> None:
    """Print what a dataset, a run's data or trajectories hold; draw their Ramachandran planes.

    A row for each system, and where `each` is true for each trajectory as well. Raises MoleculeError or
    DatasetError for what cannot be read, FileError if the figure cannot be written.
    """
    if figure is not None:
        require_writable(figure.absolute().parent)
    dataset = next((p for p in (path, path / "data") if (p / MANIFEST).exists()), None)
    if dataset is not None:
        _inspect_dataset(Dataset(dataset), figure, display, each)
    else:
        _inspect_sources(config, figure, display, each)


def _inspect_dataset(dataset: Dataset, figure: Path | None, display: Display, each: bool) -> None:
    source = dataset.manifest["source"]
    display.stage("dataset", str(dataset.directory))
    display.stage("", f"fingerprint {dataset.fingerprint}")
    display.stage("", f"unit {source['units']}, norm {dataset.norm:.6g}")
    if "conditions" not in source:
        display.stage("", f"{', '.join(dataset.systems)}: not of molecules")
        return
    display.stage("", conditions_line([Conditions(**source["conditions"])]))
    rows, parts, drawn = [], [], {}
    for name in dataset.systems:
        beads = Beads.from_json(dataset.description(name)["beads"])
        # What the system was made of; some datasets do not know.
        planes, known = ramachandran(beads), dataset.description(name).get("trajectories", [])
        for split in dataset.splits(name):
            frames = dataset.split(split, name)
            positive = UNKNOWN
            if planes:
                counts = _counts(planes, frames.blocks(BLOCK))
                positive = f"{counts[len(counts) // 2 :].sum() / counts.sum():.4f}"
                drawn[f"{name} ({split})"] = {"reference": counts}
            mine = [part for part in known if part["split"] == split]
            spacing = common_spacing([part["spacing"] for part in mine])
            sizes = len(mine) or 1, len(frames)
            rows.append((name, beads.sequence, split, *sizes, spacing, len(beads), positive))
        parts += [(part["name"], name, part["split"], part["frames"], part["spacing"]) for part in known]
    splits = dict.fromkeys(row[2] for row in rows)
    if len(splits) == 1:
        display.stage("", f"split: {next(iter(splits))}")
    header = ("system", "sequence", "split", "files", "frames", "spacing", "beads", "p(φ > 0)")
    display.table(*without_repeats(header, [[str(value) for value in row] for row in rows]))
    if each:
        trajectories(parts, display)
    _draw_beside(drawn, dataset.directory / "ramachandran.png", figure, display)


def _draw_beside(
    drawn: Mapping[str, Mapping[str, Counts]], beside: Path, asked: Path | None, display: Display
) -> None:
    """Draw to the file that is asked for, or into the folder of the dataset if it can be written."""
    if not drawn:
        display.stage("note", "the beads have no torsions φ and ψ, and so no Ramachandran planes")
        return
    if asked is None:
        try:
            require_writable(beside.parent)
        except FileError as error:
            display.stage("note", f"{error}; --figure FILE draws the Ramachandran planes elsewhere")
            return
    _draw(drawn, asked or beside, display)


def _inspect_sources(config: MoleculesConfig, figure: Path | None, display: Display, each: bool) -> None:
    sources, bead_map = sources_of(config), BeadMap.parse(config.beads)
    try:
        pools = pool(sources, bead_map)
    except MoleculeError as error:
        if figure is not None:
            raise
        bead_map = BeadMap(selection="all")
        pools = pool(sources, bead_map)
        display.stage("note", f"beads {config.beads} cannot be made of it: {error}")
    display.stage("source", _counted(sources, pools))
    display.stage("", conditions_line([source.conditions for source in sources]))
    founds, drawn = {}, {}
    for molecule in pools:
        beads = molecule.beads(bead_map)
        if figure is not None:
            require_torsions(beads)
        planes, founds[molecule.name] = ramachandran(beads), []
        for source in molecule.sources:
            found, label = Found(), f"{molecule.name} ({source.split or DEFAULT_SPLIT})"
            for block in source.coarse_blocks(bead_map, found=found):
                if figure is not None:
                    before = drawn.setdefault(label, {}).get("reference", 0)
                    drawn[label]["reference"] = before + _counts(planes, [block])
            founds[molecule.name].append(found)
    summarise(pools, founds, display, each)
    if figure is not None:
        _draw(drawn, figure, display)


def _counts(planes: Sequence[Projection], blocks: Iterable[np.ndarray]) -> Counts:
    """Of the residue in the middle."""
    plane, counts = planes[len(planes) // 2], np.zeros(RAMACHANDRAN.shape(RAMACHANDRAN.js_bins), int)
    for block in blocks:
        counts += histogram(plane(block), RAMACHANDRAN)
    return counts


def _draw(rows: Mapping[str, Mapping[str, Counts]], path: Path, display: Display) -> None:
    picture = figures.free_energy_surfaces(rows, RAMACHANDRAN)
    files.write(path, figures.to_png(picture))
    display.stage("figure", str(path))
