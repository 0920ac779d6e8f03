"""`fokker dataset`: files of molecules, made, converted, looked at and judged."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from ...data.config import MoleculesConfig, ReferenceConfig
from ...distributed.config import ClusterConfig
from ...distributed.runs.config import ConfigError
from ...model.config import STRICT
from . import parsing
from .command import Command
from .options import FLAT
from .values import HomePath, new_file

if TYPE_CHECKING:
    from ...distributed.runs.display import Display

READING = ("topology", "sequence", "beads", "unit", "skip_damaged")
"""Settings of trajectories that are read."""
OF_RUNS = {(MoleculesConfig, field.name) for field in fields(MoleculesConfig) if field.name not in READING}
"""Settings of molecules that only a run has."""


def _there(text: str) -> str:
    """One path or several with commas between, all of which are there. Raises ValueError."""
    for part in [text] if Path(text).expanduser().exists() else text.split(","):
        if not Path(part.strip()).expanduser().exists():
            raise ValueError(f"{part} does not exist")
    return text


Paths = Annotated[str, AfterValidator(_there)]


@dataclass(frozen=True, config=STRICT)
class GenerateArguments:
    """All atoms in implicit solvent, under a bias on φ that is learned and taken away again.

    The folder gets them in Timewarp's layout; --data peptides trains on them. The same command again goes on
    where it stopped.
    """

    sequences: tyro.conf.Positional[tuple[str, ...]]
    """Peptides, such as AC or ACE-ALA-NME."""
    config: Annotated[ReferenceConfig, FLAT] = ReferenceConfig()
    out: HomePath = Path("peptides/train")
    """Folder that they go to."""


@dataclass(frozen=True, config=STRICT)
class ConvertArguments:
    """Trajectories of one molecule become one system."""

    paths: tyro.conf.Positional[tuple[str, ...]]
    """Files or folders of trajectories."""
    config: Annotated[MoleculesConfig, FLAT] = MoleculesConfig()
    out: HomePath = Path("dataset")
    """Folder of the dataset, which can be given to --data."""
    trajectories: bool = False
    """Print a row for each trajectory."""


@dataclass(frozen=True, config=STRICT)
class InspectArguments:
    """A row a system: all frames are read and checked."""

    paths: tyro.conf.Positional[tuple[Paths, ...]]
    """A dataset, the folder of a run, or files and folders of trajectories."""
    config: Annotated[MoleculesConfig, FLAT] = MoleculesConfig()
    figure: Annotated[HomePath | None, new_file(".png")] = None
    """File that gets the Ramachandran planes (none: a dataset's go to its own folder)."""
    trajectories: bool = False
    """Print a row for each trajectory as well."""


@dataclass(frozen=True, config=STRICT, kw_only=True)
class JudgeArguments:
    """Every peptide is compared with the reference of the same sequence, each with all its files."""

    samples: Paths
    """Frames of any program: a file or folder, or several with commas between."""
    reference: Paths
    """Those that they are judged by, likewise."""
    config: Annotated[MoleculesConfig, FLAT] = MoleculesConfig()
    out: Annotated[HomePath, new_file(".json")] = Path("metrics.json")
    """File of the metrics; a picture of the Ramachandran planes lies beside it."""
    force: bool = False
    """Replace what is there."""
    given: tyro.conf.Suppress[tuple[str, ...]] = ()
    """Dotted paths of what was typed."""


@contextmanager
def _working_on(out: Path) -> Iterator[Path]:
    """A folder that no other process works on; leaves the cluster that was joined."""
    from ...distributed.cluster import joining
    from ...distributed.runs.run import locked

    with joining.leaving(), locked(out.absolute()):
        yield out.absolute()


def generate(arguments: GenerateArguments, display: "Display") -> None:
    """Simulate peptides with OpenMM."""
    from ...data.reference.dynamics import Reference
    from ...distributed.runs import datasets

    with _working_on(arguments.out) as directory:
        names = dict.fromkeys(arguments.sequences)
        references = [Reference(name, arguments.config, directory) for name in names]
        datasets.generate(references, ClusterConfig(), display)


def convert(arguments: ConvertArguments, display: "Display") -> None:
    """Map trajectories to beads. ConfigError if the folder holds a dataset already."""
    from ...data.dataset.shards import MANIFEST
    from ...distributed.runs import datasets

    config = replace(arguments.config, path=",".join(arguments.paths))
    with _working_on(arguments.out) as directory:
        if (directory / MANIFEST).exists():
            raise ConfigError(f"{directory} holds a dataset already: take another --out, or remove it")
        origin, on = {"name": directory.name, "units": "nm"}, ClusterConfig()
        fingerprint = datasets.convert(config, directory, origin, on, display, arguments.trajectories)
        display.stage("dataset", f"{directory}, fingerprint {fingerprint[:12]}")


def inspect(arguments: InspectArguments, display: "Display") -> None:
    """Look at datasets, data of runs, or trajectories."""
    from ...distributed.runs import datasets

    path = ",".join(arguments.paths)
    config = replace(arguments.config, path=path)
    datasets.inspect(Path(path).expanduser(), arguments.figure, config, display, arguments.trajectories)


def judge(arguments: JudgeArguments, display: "Display") -> None:
    """Compare frames with a reference."""
    from .. import judge

    judge.carry_out(arguments, display)


_reading = partial(parsing.read, hidden=OF_RUNS)
COMMANDS = {
    "dataset generate": Command("simulate peptides with OpenMM", GenerateArguments, generate),
    "dataset convert": Command("map trajectories to beads, in parallel", ConvertArguments, convert, _reading),
    "dataset inspect": Command(
        "say what a dataset, a run's data or trajectories hold", InspectArguments, inspect, _reading
    ),
    "dataset judge": Command(
        "compare the frames that any program made with a reference",
        JudgeArguments,
        judge,
        partial(parsing.read, hidden=OF_RUNS - {(MoleculesConfig, "temperature")}),
    ),
}
