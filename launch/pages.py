"""The pages of the site as the package ships them, for a terminal and for the site's build."""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

TOPICS = (
    "start",
    "installation",
    "molecules",
    "theory",
    "training",
    "settings",
    "simulation",
    "campaigns",
    "cluster",
    "cluster-kubernetes",
    "cluster-slurm",
    "cluster-container",
    "cluster-watch",
    "api",
    "files",
    "faults",
    "tables",
    "speed",
    "changes",
    "contributing",
)
"""In the order of the site; each is a file of docs/."""
FOLDER = Path(__file__).parents[1] / "docs"
SETTINGS = "<!-- settings -->"
"""Where the build puts what launch/settings.py says."""


def source(topic: str) -> str:
    """The Markdown of a page as it lies in docs/."""
    return (FOLDER / f"{topic}.md").read_text(encoding="utf-8")


def title(topic: str) -> str:
    """The heading of a page."""
    return next(line[2:] for line in source(topic).splitlines() if line.startswith("# "))


def expanded(text: str) -> str:
    """With the settings, where they are asked for."""
    if SETTINGS not in text:
        return text
    from . import settings

    return text.replace(SETTINGS, settings.markdown())


def for_terminal(topic: str) -> str:
    """Markdown without what only a browser shows: pages are named by their topics, code by its docstrings."""
    text = re.sub(r"^::: (\S+)$", lambda found: described(found[1]), expanded(source(topic)), flags=re.M)
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.S)
    text = re.sub(r"!\[(.*?)\]\(.*?\)", r"*Picture: \1*", text, flags=re.S)
    return re.sub(r"\[([^]]*)\]\((?:docs/)?([\w-]+)\.md(?:#[\w-]+)?\)", r"\1 (`fokker help \2`)", text)


def described(path: str) -> str:
    """What a public name is: its signature and its docstring, and those of what belongs to it."""
    module, _, name = path.rpartition(".")
    thing = getattr(import_module(module), name)
    parts = [f"### {path}", _code(name, thing), inspect.getdoc(thing) or ""]
    if inspect.isclass(thing):
        parts += [f"**{one}**\n\n{text}" for one, text in _members(thing)]
    return "\n\n".join(filter(None, parts))


def _members(kind: type) -> Iterator[tuple[str, str]]:
    for name, member in vars(kind).items():
        function = getattr(member, "fget", None) or getattr(member, "func", None)  # Of a property.
        if name.startswith("_") or not (function or inspect.isfunction(member)):
            continue
        code = "" if function else _code(name, member)
        yield name, "\n\n".join(filter(None, (code, inspect.getdoc(function or member))))


def _code(name: str, thing: Any) -> str:
    try:
        return f"```python\n{name}{inspect.signature(thing)}\n```"
    except ValueError:
        return ""
