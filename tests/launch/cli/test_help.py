"""Help: every setting with its value and unit, within 80 columns."""

import re
import shlex
import sys
from typing import get_args

import pytest

from fokker import __version__
from fokker.distributed.runs.config import Method, Recipe
from fokker.distributed.runs.presets import PRESETS
from fokker.launch.cli import COMMANDS, main
from fokker.launch.cli.options import options
from fokker.launch.cli.parsing import helped
from fokker.launch.cli.reproduce import TABLES
from fokker.launch.cli.run import METHODS, RECIPES, RunArguments
from fokker.launch.cli.values import shown
from fokker.launch.pages import TOPICS, title

OF_A_RUN = ("run", "data", "train", "sample", "simulate", "evaluate", "report")
PHYSICAL = {"timestep", "temperature", "mass", "friction"}


def entries(text: str) -> dict[str, str]:
    """Names of an option to what is said of it, with the text above its section before it."""
    found = {}
    for block in re.split(r"\n\n(?= )", text):
        heading, *parts = re.split(r"\n  (?=--\w)", block)
        for part in parts:
            name = re.split(r"  |\n", part)[0]
            found |= dict.fromkeys(re.findall(r"--[\w.-]+", name), " ".join(f"{heading} {part}".split()))
    return found


def of_preset(preset: str, method: Method, recipe: Recipe) -> tuple[str, RunArguments]:
    arguments = RunArguments(preset=preset, config=PRESETS[preset](method, recipe))
    return helped(RunArguments, "run", arguments), arguments


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("recipe", get_args(Recipe))
@pytest.mark.parametrize("method", get_args(Method))
def test_help_of_a_preset_has_every_setting_with_its_value(preset: str, method: Method, recipe: Recipe):
    text, arguments = of_preset(preset, method, recipe)
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r" $|[│╭╰]|\x1b", text, re.MULTILINE), "frames, colours and blanks do not suit a log"
    found = entries(text)
    for option in options(arguments).values():
        value = [str(option.value)] if isinstance(option.value, bool) else shown(option.value)
        assert f"(default: {' '.join(value) or 'nothing'})" in found[option.names[0]], option.path
        assert all(
            str(choice) in found[option.names[0]]
            for choice in get_args(option.annotation)
            if isinstance(choice, str)
        )


def test_every_setting_is_described():
    for preset in PRESETS:
        text, arguments = of_preset(preset, "both", "fokker")
        found = entries(text)
        for option in options(arguments).values():
            words = found[option.names[0]].partition(option.names[-1])[2]
            assert re.search(r"[A-Z]\w+ .*\. \(default", words), option.path


def test_help_names_the_units_of_physical_settings():
    """In the text of the setting, or in that above a section that has one system of units."""
    text, arguments = of_preset("mueller-brown", "both", "fokker")
    physical = {o.path: o.names[0] for o in options(arguments).values() if o.path.split(".")[-1] in PHYSICAL}
    assert {path.split(".")[0] for path in physical} == {"data", "simulate"}
    for name in physical.values():
        assert re.search(r"natural units|\bps\b", entries(text)[name]), name


def help_of(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80
    return out


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_own_help(command: str, flag: str, capsys: pytest.CaptureFixture[str]):
    text = help_of(capsys, *command.split(), flag)
    assert text.startswith(f"usage: fokker {command} ")
    about = COMMANDS[command].about
    assert f"{about[0].upper()}{about[1:]}." in " ".join(text.split())
    hidden = getattr(COMMANDS[command].reading, "keywords", {}).get("hidden", ())
    assert all(name in text for name in options(COMMANDS[command].kind, hidden))


@pytest.mark.parametrize("command", OF_A_RUN)
def test_help_of_a_command_says_how_to_see_the_settings(command: str, capsys: pytest.CaptureFixture[str]):
    text = help_of(capsys, command, "--help")
    assert all(name in text for name in (*METHODS, *RECIPES, *PRESETS, "--data PATH"))
    assert "--train.batch-size" not in text
    (line,) = re.findall(r"To see the settings: fokker (.*)", text)
    example = line.replace("[--method M]", "--method score")
    assert "--train.batch-size" in help_of(capsys, *shlex.split(example))


def test_help_of_fokker_names_the_commands(capsys: pytest.CaptureFixture[str]):
    text = help_of(capsys, "--help")
    assert all(re.search(rf"^  {command} ", text, re.MULTILINE) for command in COMMANDS)
    assert all(preset in text for preset in PRESETS)


@pytest.mark.parametrize("group", ["dataset", "model", "checkpoint", "slurm", "deploy"])
def test_help_of_a_group_names_its_commands(group: str, capsys: pytest.CaptureFixture[str]):
    text = help_of(capsys, group, "--help")
    assert text.startswith(f"usage: fokker {group} ")
    assert all(
        command.about.split()[0] in text for name, command in COMMANDS.items() if name.startswith(f"{group} ")
    )


def test_help_of_reproduce(capsys: pytest.CaptureFixture[str]):
    text = help_of(capsys, "reproduce", "--help")
    assert all(part in text for part in (*TABLES, *METHODS, "--seeds", "--size", "--runs-dir"))
    settings = help_of(capsys, "reproduce", "table6", "--help")
    assert "--train.batch-size" in settings
    assert "--seed " not in settings, "each model has its own"
    times = help_of(capsys, "reproduce", "table7", "--help")
    assert all(part in times for part in ("--presets", "--device", "alanine-dipeptide dipeptides"))


def test_version(capsys: pytest.CaptureFixture[str]):
    assert help_of(capsys, "--version") == f"fokker {__version__}\n"


# fokker help


def test_help_lists_the_topics_with_their_titles(capsys: pytest.CaptureFixture[str]):
    text = help_of(capsys, "help")
    for topic in TOPICS:
        assert re.search(rf"^  {topic} +{re.escape(title(topic))}$", text, re.MULTILINE), topic


@pytest.mark.parametrize("topic", TOPICS)
def test_help_shows_a_page_as_text(
    topic: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["help", topic]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out, "colours do not suit a file"
    assert title(topic) in out
    assert len(out.splitlines()) > 20


def test_help_of_settings_and_of_python_is_made_of_the_code(capsys: pytest.CaptureFixture[str]):
    assert main(["help", "settings"]) == 0
    assert "--train.batch-size" in capsys.readouterr().out
    assert main(["help", "api"]) == 0
    assert "Langevin dynamics: `frames`" in capsys.readouterr().out.replace("frames of", "`frames` of")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("clusters", "did you mean cluster?"),
        ("clus", "did you mean cluster or cluster-kubernetes or"),
        ("molecule", "did you mean molecules?"),
        ("nonsense", "unknown 'nonsense'; choose from start, "),
    ],
)
def test_a_topic_that_there_is_not(typed: str, said: str, capsys: pytest.CaptureFixture[str]):
    assert main(["help", typed]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fokker help: error: TOPIC: unknown ")
    assert said in err
    assert err.count("\n") == 1


def test_help_without_rich_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "rich.markdown", None)
    assert main(["help", "start"]) == 1
    assert capsys.readouterr().err.endswith("is not installed: pip install 'fokker[train,cluster]'\n")
