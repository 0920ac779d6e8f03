"""Files that the command writes for others to read."""

import shlex

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def load(name: str) -> Template:
    """A template beside this module; blocks leave no lines behind."""
    environment = Environment(
        loader=PackageLoader("fokker.launch", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = shlex.quote
    return environment.get_template(name)
