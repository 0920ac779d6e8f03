"""`fokker export`: the trained model of a run as one file."""

from ..data.bound import load
from ..data.files import require_file
from .arguments import ExportArguments
from .display import Display


def carry_out(arguments: ExportArguments, display: Display) -> None:
    """Copy the model. FileError if its place cannot be written, ArchiveError if the run has none."""
    require_file(arguments.file)
    load(arguments.run).save(arguments.file)
    display.stage("export", str(arguments.file))
