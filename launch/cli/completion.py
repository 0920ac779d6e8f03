"""`fokker completion`: what a shell needs to complete command lines."""

from dataclasses import dataclass as plain
from typing import Any, Literal

import tyro
from pydantic.dataclasses import dataclass

from ...model.config import STRICT
from ..presets import PRESETS
from .command import Command
from .parsing import options

EXAMPLES = ("mueller-brown", "dipeptides-small")
"""Presets that together have every setting there is."""
BASH = """\
_fokker() {{
    local words
    case "${{COMP_WORDS[*]:1:COMP_CWORD-1}} " in
{cases}
    *) words='{commands}' ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}")
}}
complete -o default -F _fokker fokker
"""
ZSH = """\
_fokker() {{
    local words_before="${{words[2,CURRENT-1]}} " found
    case "$words_before" in
{cases}
    *) found='{commands}' ;;
    esac
    compadd -- ${{=found}}
    _files
}}
compdef _fokker fokker
"""


@dataclass(frozen=True, config=STRICT)
class CompletionArguments:
    """Commands, presets, options and settings. For bash: eval "$(fokker completion bash)"."""

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """Shell that is to complete."""


@plain(frozen=True)
class _Next:
    """What can follow a command."""

    command: str
    words: list[str]


def carry_out(arguments: CompletionArguments) -> None:
    """Print the script."""
    from . import COMMANDS  # This command is one of them.

    following = [_Next(name, _words(command.kind)) for name, command in COMMANDS.items()]
    firsts = dict.fromkeys(name.split()[0] for name in COMMANDS)
    for first in firsts:
        if first not in COMMANDS:
            following.append(_Next(first, [n.split()[1] for n in COMMANDS if n.startswith(f"{first} ")]))
    if arguments.shell == "fish":
        print("complete -c fokker -n __fish_use_subcommand -f -a", f"'{' '.join(firsts)}'")
        for each in following:
            seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in each.command.split())
            print(f"complete -c fokker -n '{seen}' -a '{' '.join(each.words)}'")
        return
    variable, form = ("words", BASH) if arguments.shell == "bash" else ("found", ZSH)
    cases = "\n".join(f"    '{each.command} '*) {variable}='{' '.join(each.words)}' ;;" for each in following)
    print(form.format(cases=cases, commands=" ".join(firsts)), end="")


def _words(kind: Any) -> list[str]:
    """Presets, if the command takes one, and every option, of any preset."""
    fields = kind.__pydantic_fields__
    presets = [*PRESETS] if "preset" in fields else []
    found = options(kind)
    if "preset" in fields and "config" in fields:
        for name in EXAMPLES:
            found |= options(kind(config=PRESETS[name]("both", "fokker")))
    return [*presets, *found]


COMMANDS = {
    "completion": Command(
        "print what a shell completes command lines with", CompletionArguments, carry_out, shows=False
    )
}
