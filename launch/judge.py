"""`fokker dataset judge`: what any program made, judged against any reference."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from ..analysis import evaluation, results
from ..analysis.observables import distances
from ..analysis.reduction import held
from ..analysis.report import figures
from ..analysis.report.figures import Sets
from ..analysis.results import SampleResult
from ..analysis.systems import System
from ..data import files
from ..data.dataset.convert import require_same_temperature, sources_of
from ..data.molecules.bead_map import BeadMap
from ..data.molecules.beads import Beads
from ..data.molecules.residues import MoleculeError
from ..data.readers.found import Found
from ..data.readers.pooling import Pool, pool
from ..data.readers.sources import Source, coarse_frames
from ..distributed.runs.checks import require_free
from ..distributed.runs.config import ConfigError
from ..distributed.runs.display import Display
from ..distributed.runs.summary import warn
from .cli.dataset import JudgeArguments

COLUMNS = ("peptide", "frames", "JS", "floor", "PMF", "floor", "p(φ>0)", "reference")
STRUCTURE = ("peptide", "broken bonds", "mirror images", "of the reference")


def carry_out(arguments: JudgeArguments, display: Display) -> None:
    """Compare every peptide of the samples with the reference of the same sequence, each with all its files.

    Writes metrics and Ramachandran planes. Raises MoleculeError for what cannot be read, ConfigError if a
    peptide has no reference or was made at another temperature, FileError for what cannot be written.
    """
    bead_map, picture = BeadMap.parse(arguments.config.beads), arguments.out.with_suffix(".png")
    require_free(arguments.out, picture, force=arguments.force)
    samples = sources_of(replace(arguments.config, path=arguments.samples))
    references = _references(arguments)
    temperature = _temperature(arguments, samples, references)
    pooled, known = pool(samples, bead_map), pool(references, bead_map)
    pairs = [(part, _reference_of(part, bead_map, known)) for part in pooled]
    judged, rows, drawn = {}, [], {}
    for part, reference in pairs:
        beads = reference.beads(bead_map)
        frames, expected = _frames(part, bead_map, display), _frames(reference, bead_map, display)
        judged[part.name], sets = _judge(part.name, beads, frames, expected, temperature)
        rows.append(_row(part.name, judged[part.name]))
        drawn[part.name if len(pooled) > 1 else ""] = sets
    display.table(COLUMNS, rows)
    display.table(STRUCTURE, [_structure(name, result) for name, result in judged.items()])
    result = results.SampleResults(arguments.reference, judged)
    files.write_json(arguments.out, results.to_json(result))
    _, figure = next(iter(figures.free_energies(drawn).values()))
    files.write(picture, figures.to_png(figure))
    display.stage("evaluate", f"{arguments.out}, {picture}")


def _temperature(arguments: JudgeArguments, samples: Sequence[Source], references: Sequence[Source]) -> float:
    """What is asked for or known, in K. ConfigError names two that differ."""
    known = {
        "--temperature": arguments.config.temperature if "temperature" in arguments.given else None,
        f"the samples {arguments.samples}": require_same_temperature(samples),
        f"the reference {arguments.reference}": require_same_temperature(references),
    }
    told = [(what, value) for what, value in known.items() if value is not None]
    for what, value in told[1:]:
        if value != told[0][1]:
            raise ConfigError(
                f"{told[0][0]} is {told[0][1]:g} K, and {what} is {value:g} K: samples are judged by a "
                "reference of their own temperature"
            )
    return told[0][1] if told else arguments.config.temperature


def _references(arguments: JudgeArguments) -> list[Source]:
    """With their own topologies; with that which is given for the samples where they have none."""
    config = replace(arguments.config, path=arguments.reference, unit=None)
    try:
        return sources_of(replace(config, topology=None, sequence=None))
    except MoleculeError:
        if config.topology is None and config.sequence is None:
            raise
        return sources_of(config)


def _reference_of(part: Pool, bead_map: BeadMap, references: Sequence[Pool]) -> Pool:
    """The reference of the same sequence and beads. ConfigError if there is none."""
    beads = part.beads(bead_map)
    same = [reference for reference in references if reference.beads(bead_map).sequence == beads.sequence]
    if not same:
        found = ", ".join(sorted({reference.beads(bead_map).sequence for reference in references})[:8])
        raise ConfigError(
            f"{part.sources[0].path} is of {beads.sequence}, of which the reference has 0 trajectories: "
            f"it is of {found}",
            "--reference",
        )
    for reference in same:
        if reference.beads(bead_map).atoms == beads.atoms:
            return reference
    raise MoleculeError(
        f"{part.sources[0].path} and {same[0].sources[0].path} have different beads: name a map with --beads"
    )


def _frames(part: Pool, bead_map: BeadMap, display: Display) -> Float[np.ndarray, "frames beads 3"]:
    """Of all trajectories of a molecule; says what is wrong with them."""
    entries, blocks = [], []
    for source in part.sources:
        found = Found()
        blocks.append(coarse_frames(source, bead_map, found))
        entries.append((source, found))
    warn(part, entries, display)
    return np.concatenate(blocks)


def _judge(
    name: str, beads: Beads, frames: np.ndarray, expected: np.ndarray, temperature: float
) -> tuple[SampleResult, Sets]:
    """Metrics, and what is drawn."""
    means = distances(expected, beads.bonds).mean(axis=0)
    system = System.molecule(name, beads, means.tolist(), temperature)
    sets = {"reference": expected, "samples": frames[system.finite(frames)]}
    drawn = {kind: held(system, part).totals for kind, part in sets.items()}
    return evaluation.judge_samples(system, expected, frames), drawn


def _row(name: str, result: SampleResult) -> tuple[str, ...]:
    scores = [getattr(result.corrected[kind], m) for m in ("js", "pmf") for kind in ("samples", "floor")]
    torsions = result.molecule.torsions if result.molecule else None
    positive = (
        (f"{torsions.phi_positive[kind]:.4f}" for kind in ("samples", "reference")) if torsions else ("", "")
    )
    return name, str(result.frames.count), *(f"{value:.4f}" for value in scores), *positive


def _structure(name: str, result: SampleResult) -> tuple[str, ...]:
    """Counts of frames."""
    mirrored = result.molecule.mirror_images if result.molecule else None
    counts = (str(mirrored[kind].count) for kind in ("samples", "reference")) if mirrored else ("no hand", "")
    return name, str(result.frames.broken_bonds), *counts
