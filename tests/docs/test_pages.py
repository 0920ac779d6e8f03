"""What pages show below `<!-- run -->` is run, and prints what stands below it, but for numbers."""

import ast
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fokker.launch import pages
from fokker.launch.cli import parse

from ..user import User

MARK = "<!-- run -->\n"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Shown:
    """A marked block, and what the page says that it prints."""

    language: str
    code: str
    printed: str

    @property
    def commands(self) -> list[list[str]]:
        """Words of each command of a block for a shell."""
        lines = self.code.replace("\\\n", " ").splitlines() if self.language == "bash" else []
        return [words[1:] for line in lines if (words := shlex.split(line, comments=True))]


def marked(topic: str) -> list[Shown]:
    found = []
    for part in pages.source(topic).split(MARK)[1:]:
        (language, code), *others = BLOCK.findall(part)
        printed = "".join(text for kind, text in others if kind == "text")
        found.append(Shown(language, code, printed))
    return found


def unnumbered(text: str) -> list[str]:
    """Lines without their numbers, their blanks and their rules."""
    lines = (" ".join(re.sub(r"\d[\d.,:]*", "0", line).split()) for line in text.splitlines())
    return [line for line in lines if re.search(r"\w", line)]


RUN = [topic for topic in pages.TOPICS if marked(topic)]


def test_the_first_page_is_run():
    assert "start" in RUN


@pytest.mark.parametrize("topic", RUN)
def test_marked_blocks_are_commands_of_fokker_or_python(topic: str):
    for block in marked(topic):
        assert block.language in ("bash", "python")
        if block.language == "python":
            ast.parse(block.code)
        for words in block.commands:
            assert words
            if "--name" not in words:  # Of a run that is not there yet.
                parse(words)


def test_numbers_alone_may_differ():
    assert unnumbered(" a  0.12   3\n ────\n") == unnumbered("a 12.0 4:05\n") == ["a 0 0"]


@pytest.mark.long
@pytest.mark.parametrize("topic", RUN)
def test_a_page_followed_from_top_to_bottom_prints_what_it_shows(topic: str, user: User, tmp_path: Path):
    user = replace(user, home=tmp_path)
    for block in marked(topic):
        out = ""
        for words in block.commands:
            done = user.run(*words)
            assert done.returncode == 0, done.stderr
            out += done.stdout
        if block.language == "python":
            done = subprocess.run(
                [sys.executable, "-c", block.code], cwd=user.home, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            out = done.stdout
        print(block.code, out, sep="\n")
        missing = [line for line in unnumbered(block.printed) if line not in unnumbered(out)]
        assert not missing, f"{topic} shows what is not printed: {missing}"
        assert out
