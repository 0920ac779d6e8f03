"""`fokker evaluate --samples`: what any program made, judged against any reference."""

from collections.abc import Sequence

from ..analysis import evaluation, figures
from ..analysis.metrics import RAMACHANDRAN
from ..analysis.systems import BOLTZMANN, System
from ..data.bead_map import BeadMap
from ..data.files import write_json
from ..data.readers import open_source
from ..data.residues import MoleculeError
from ..data.sources import Source, coarse_frames
from .config import ConfigError
from .display import Display
from .molecule_arguments import JudgeArguments

COLUMNS = ("peptide", "frames", "JS", "floor", "PMF", "floor", "p(φ>0)", "reference")
STRUCTURE = ("peptide", "broken bonds", "mirror images", "of the reference")


def carry_out(arguments: JudgeArguments, display: Display) -> None:
    """Compare every peptide of the samples with the reference of the same sequence.

    Writes metrics and Ramachandran planes. Raises MoleculeError for what cannot be read, ConfigError if a
    peptide has no reference.
    """
    bead_map = BeadMap.parse(arguments.config.beads)
    unit, topology = arguments.config.unit, arguments.config.topology
    samples = open_source(arguments.samples, topology, unit=unit)
    references = open_source(arguments.reference, unit=unit)
    results, rows, drawn = {}, [], {}
    for source in samples:
        reference = _reference_of(source, bead_map, references)
        result, points = _judge(source, reference, bead_map, arguments.config.temperature)
        results[source.name] = result
        rows.append(_row(source.name, result))
        drawn[source.name if len(samples) > 1 else ""] = points
    display.table(COLUMNS, rows)
    display.table(STRUCTURE, [_structure(name, result) for name, result in results.items()])
    write_json(arguments.out, {"reference": str(arguments.reference), "systems": results})
    picture = arguments.out.with_suffix(".png")
    picture.write_bytes(figures.to_png(figures.free_energy_surfaces(drawn, RAMACHANDRAN)))
    display.stage("evaluate", f"{arguments.out}, {picture}")


def _reference_of(source: Source, bead_map: BeadMap, references: Sequence[Source]) -> Source:
    """The only reference, or that of the same sequence. ConfigError if its beads are others."""
    sequence = source.beads(bead_map).sequence
    same = [reference for reference in references if reference.beads(bead_map).sequence == sequence]
    if len(same) != 1:
        found = ", ".join(sorted({reference.sequence for reference in references})[:8])
        raise ConfigError(
            f"{source.path} is of {sequence}, of which the reference has {len(same)} trajectories, not one: "
            f"it is of {found}",
            "--reference",
        )
    return same[0]


def _judge(source: Source, reference: Source, bead_map: BeadMap, temperature: float):
    """Metrics, and both sets of points."""
    beads = reference.beads(bead_map)
    if source.beads(bead_map).atoms != beads.atoms:
        raise MoleculeError(
            f"{source.path} and {reference.path} have different beads: name a map with --beads"
        )
    frames, expected = coarse_frames(source, bead_map), coarse_frames(reference, bead_map)
    system = System(source.name, RAMACHANDRAN, BOLTZMANN * temperature, (), beads=beads)
    lengths = system.bonds(expected).mean(axis=0)
    system = System(source.name, RAMACHANDRAN, system.kT, (), beads=beads, bond_means=tuple(lengths))
    points = {"reference": system.points(expected), "samples": system.points(frames)}
    return evaluation.judge_samples(system, expected, frames), points


def _row(name: str, result: dict) -> tuple[str, ...]:
    corrected, positive = result["corrected"], result["molecule"]["phi_positive"]
    numbers = [corrected[kind][metric] for metric in ("js", "pmf") for kind in ("samples", "floor")]
    numbers += [positive["samples"], positive["reference"]]
    return name, str(result["frames"]["count"]), *(f"{value:.4f}" for value in numbers)


def _structure(name: str, result: dict) -> tuple[str, ...]:
    """Counts of frames."""
    mirrored = result["molecule"]["mirror_images"]
    counts = ("no hand", "") if mirrored is None else (mirrored[k]["count"] for k in ("samples", "reference"))
    return name, str(result["frames"]["broken_bonds"]), *map(str, counts)
