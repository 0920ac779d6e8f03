"""`python -m fokker`: the command, also where its script is not installed, as in a job of Ray."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Carry out the program's command line, and end the process; where its extras are missing, say so."""
    try:
        from .launch.cli import process
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("fokker"):
            raise
        sys.exit(f"fokker: error: {error.name} is not installed: pip install 'fokker[train,cluster]'")
    process.main()


if __name__ == "__main__":
    main()
