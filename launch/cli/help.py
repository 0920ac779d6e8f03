"""`fokker help`: the pages of the site as text."""

from typing import Annotated

import tyro
from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from ...data.errors import FokkerError
from ...model.config import STRICT
from ..pages import TOPICS, for_terminal, title
from .command import Command
from .values import Choices


@dataclass(frozen=True, config=STRICT)
class HelpArguments:
    """Without a topic, all of them are listed. `fokker COMMAND --help` explains a command."""

    topic: tyro.conf.Positional[Annotated[str | None, AfterValidator(Choices(TOPICS))]] = None
    """Page to show."""


def carry_out(arguments: HelpArguments) -> None:
    """Print the page, or the list of them. FokkerError where what draws it is not installed."""
    try:
        from rich.console import Console
        from rich.markdown import Markdown
    except ModuleNotFoundError as error:
        raise FokkerError(f"{error.name} is not installed: pip install 'fokker[train,cluster]'") from None
    if arguments.topic is None:
        width = max(map(len, TOPICS)) + 2
        print("\n".join(f"  {topic.ljust(width)}{title(topic)}" for topic in TOPICS))
        print("\n'fokker help TOPIC' shows a page, 'fokker COMMAND --help' explains a command.")
        return
    Console().print(Markdown(for_terminal(arguments.topic), hyperlinks=False))


COMMANDS = {"help": Command("show a page of the documentation", HelpArguments, carry_out, shows=False)}
