"""Datasets as users make them and look at them: OpenMM references, conversion to beads, inspection."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray

from ..analysis import figures
from ..analysis.metrics import RAMACHANDRAN
from ..analysis.systems import System
from ..data.bead_map import BeadMap
from ..data.building import require_openmm
from ..data.config import MoleculesConfig
from ..data.convert import DEFAULT_SPLIT, check, finish_conversion
from ..data.readers import open_source
from ..data.reference import Reference
from ..data.residues import parse_sequence
from ..data.shards import MANIFEST, Dataset
from ..data.sources import Source
from ..distributed import cluster, tasks
from ..distributed.config import ClusterConfig
from .config import ConfigError
from .display import Display
from .molecule_arguments import ConvertArguments, GenerateArguments, InspectArguments
from .run import locked

POLL_SECONDS = 1.0
FEW_CROSSINGS = 20
"""Of all φ together, below which the weights of the modes mean little."""


def carry_out(arguments: GenerateArguments | ConvertArguments | InspectArguments, display: Display) -> None:
    """One of the commands of `fokker data`."""
    try:
        if isinstance(arguments, InspectArguments):
            inspect(arguments.path, arguments.figure, arguments.config, display)
            return
        directory = arguments.directory.absolute()
        with locked(directory):
            if isinstance(arguments, GenerateArguments):
                config = arguments.config
                references = [Reference(name, config, directory) for name in arguments.sequences]
                generate(references, ClusterConfig(), display)
                return
            if (directory / MANIFEST).exists():
                raise ConfigError(f"{directory} holds a dataset already: take another --out, or remove it")
            origin = {"name": directory.name, "units": "nm"}
            fingerprint = convert(arguments.config, directory, origin, ClusterConfig(), display)
            display.stage("dataset", f"{directory}, fingerprint {fingerprint[:12]}")
    finally:
        cluster.leave()


def generate(references: Sequence[Reference], config: ClusterConfig, display: Display) -> None:
    """Simulate what is not on disk, a Ray task for each walker of each peptide; prints what came out.

    Raises MoleculeError for a sequence that cannot be built, or if OpenMM is not installed.
    """
    require_openmm()
    for reference in references:
        parse_sequence(reference.sequence)
    missing = [reference for reference in references if not reference.finished]
    if missing:
        cluster.connect(config)
        tasks_left = [
            tasks.submit(tasks.simulate_reference, reference, walker)
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
        ray.get([tasks.submit(tasks.finish_reference, reference) for reference in missing])
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
    config: MoleculesConfig, directory: Path, origin: Mapping[str, Any], on: ClusterConfig, display: Display
) -> str:
    """Map the trajectories at `config.path` to beads, a Ray task for each; the dataset's fingerprint.

    A dataset that was converted before is copied. Raises MoleculeError for what cannot be read, ConfigError
    if a copied dataset is of another bead map.
    """
    bead_map = BeadMap.parse(config.beads)
    # In full: the processes of a cluster that was joined have a folder of their own.
    path = Path(config.path or "").expanduser().absolute()
    if (path / MANIFEST).exists():
        return _copy(Dataset(path), bead_map, directory, display)
    topology = None if config.topology is None else Path(config.topology).expanduser().absolute()
    sources = open_source(path, topology, unit=config.unit)
    check(sources)
    display.stage("data", f"{len(sources)} trajectories of {sources[0].layout} to beads ({config.beads})")
    cluster.connect(on)
    directory = directory.absolute()
    left = [tasks.submit(tasks.convert_trajectory, source, bead_map, directory) for source in sources]
    with display.watching():
        while left:
            (done,), left = ray.wait(left)
            ray.get(done)
            display.parts("trajectory", {"": (len(sources) - len(left), len(sources))})
    return finish_conversion(directory, sources, {**origin, "beads": bead_map.to_json()}).fingerprint


def _copy(dataset: Dataset, bead_map: BeadMap, directory: Path, display: Display) -> str:
    found, wanted = dataset.manifest["source"].get("beads"), bead_map.to_json()
    if found != wanted:
        raise ConfigError(
            f"{dataset.directory} was converted to the beads {found}, not {wanted}: convert the trajectories "
            "again, or set the beads that they are",
            "data.beads",
        )
    display.stage("data", f"the dataset {dataset.directory} ({dataset.fingerprint[:12]}) is copied")
    partial = directory.with_name(f".{directory.name}")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(dataset.directory, partial)
    partial.replace(directory)
    return dataset.fingerprint


def inspect(path: Path, figure: Path | None, config: MoleculesConfig, display: Display) -> None:
    """Print what a dataset, a run's data or a folder of trajectories holds; draw its Ramachandran planes.

    Raises MoleculeError or DatasetError for what cannot be read.
    """
    dataset = next((p for p in (path, path / "data") if (p / MANIFEST).exists()), None)
    if dataset is not None:
        _inspect_dataset(Dataset(dataset), figure or dataset / "ramachandran.png", display)
    else:
        _inspect_sources(open_source(path, unit=config.unit), figure, BeadMap.parse(config.beads), display)


def _inspect_dataset(dataset: Dataset, figure: Path, display: Display) -> None:
    source = dataset.manifest["source"]
    display.stage("dataset", str(dataset.directory))
    display.stage("", f"fingerprint {dataset.fingerprint}")
    display.stage("", f"unit {source['units']}, norm {dataset.norm:.6g}")
    if "conditions" not in source:
        display.stage("", f"{', '.join(dataset.systems)}: not of molecules")
        return
    display.stage("", f"conditions {json.dumps(source['conditions'])}")
    rows, drawn = [], {}
    for name in dataset.systems:
        system = System.of(dataset, name, MoleculesConfig())
        assert system.beads is not None
        for split in dataset.manifest["systems"][name]["splits"]:
            part = dataset.split(split, name)
            points = system.points(part.read())
            positive = f"{(points[:, 0] > 0).mean():.4f}"
            rows.append((name, system.beads.sequence, split, len(part), len(system.beads), positive))
            drawn[f"{name} ({split})"] = {"reference": points}
    display.table(("system", "sequence", "split", "frames", "beads", "p(φ > 0)"), rows)
    _draw(drawn, figure, display)


def _inspect_sources(
    sources: Sequence[Source], figure: Path | None, bead_map: BeadMap, display: Display
) -> None:
    display.stage("source", f"{len(sources)} trajectories of {sources[0].layout}")
    rows, drawn = [], {}
    for source in sources:
        split, frames = source.split or f"{DEFAULT_SPLIT} (not said)", source.frames
        unit = {1.0: "nm", 0.1: "Å"}.get(source.factor, f"nm/{1 / source.factor:.4g}")
        rows.append(
            (
                *(source.name, source.sequence, split, "?" if frames is None else frames),
                *(source.topology.n_atoms, unit, source.conditions.words),
            )
        )
        if figure is not None:
            beads = source.beads(bead_map)
            system = System(source.name, RAMACHANDRAN, 1.0, (), beads=beads)
            points = [system.points(block) for block in source.coarse_blocks(bead_map)]
            drawn[f"{source.name} ({split})"] = {"reference": np.concatenate(points)}
    display.table(("name", "sequence", "split", "frames", "atoms", "unit", "conditions"), rows)
    if figure is not None:
        _draw(drawn, figure, display)


def _draw(rows: Mapping[str, Mapping[str, np.ndarray]], path: Path, display: Display) -> None:
    picture = figures.free_energy_surfaces(rows, RAMACHANDRAN)
    path.write_bytes(figures.to_png(picture))
    display.stage("figure", str(path))
