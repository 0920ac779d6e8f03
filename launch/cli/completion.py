"""`fokker completion`: what a shell needs to complete command lines."""

from typing import Any, Literal

import tyro
from pydantic.dataclasses import dataclass

from ...distributed.runs.presets import PRESETS
from ...model.config import STRICT
from .command import Command
from .options import options
from .values import Choices

EXAMPLES = ("mueller-brown", "dipeptides-small")
"""Presets that together have every setting there is."""
BASH = """\
_fokker() {{
    local words
    case "${{COMP_WORDS[*]:1:COMP_CWORD-1}} " in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _fokker fokker"""


@dataclass(frozen=True, config=STRICT)
class CompletionArguments:
    """Commands, presets, options and settings. For bash: eval "$(fokker completion bash)"."""

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """Shell that is to complete."""


def carry_out(arguments: CompletionArguments) -> None:
    """Print the script."""
    from . import COMMANDS  # This command is one of them.

    following = {name: _words(command.kind) for name, command in COMMANDS.items()}
    for first, second in (name.split() for name in COMMANDS if " " in name):
        following.setdefault(first, []).append(second)
    firsts = " ".join(dict.fromkeys(name.split()[0] for name in COMMANDS))
    if arguments.shell == "fish":
        print(f"complete -c fokker -n __fish_use_subcommand -f -a '{firsts}'")
        for name, words in following.items():
            seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in name.split())
            print(f"complete -c fokker -n '{seen}' -a '{' '.join(words)}'")
        return
    cases = [f"    '{name} '*) words='{' '.join(words)}' ;;" for name, words in following.items()]
    if arguments.shell == "zsh":
        print("autoload -U +X compinit bashcompinit && compinit && bashcompinit")
    print(BASH.format(cases="\n".join([*cases, f"    *) words='{firsts}' ;;"])))


def _words(kind: Any) -> list[str]:
    """What can follow a command: presets, if it takes one, other words that it knows, and every option."""
    found, fields = options(kind), kind.__pydantic_fields__
    if "preset" in fields and "config" in fields:
        for name in EXAMPLES:
            found |= options(kind(config=PRESETS[name]("both", "fokker")))
    words = [
        name
        for field in fields.values()
        if tyro.conf.Positional in field.metadata
        for check in field.metadata
        if isinstance(choices := getattr(check, "func", None), Choices)
        for name in choices.names
    ]
    return [*(PRESETS if "preset" in fields else ()), *words, *found]


COMMANDS = {
    "completion": Command(
        "print what a shell completes command lines with", CompletionArguments, carry_out, shows=False
    )
}
