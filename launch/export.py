"""`fokker model export`: the trained model of a run as one file."""

from ..data.files import require_file
from . import backend
from .cli.model import ExportArguments
from .display import Display


def carry_out(arguments: ExportArguments, display: Display) -> None:
    """Write the model. FileError if its place cannot be written, ConfigError if the run is not trained."""
    require_file(arguments.file)
    backend.on_cpu()
    from .trained import load

    load(arguments.run).save(arguments.file)
    display.stage("export", str(arguments.file))
