"""What a linter says of the container file; tests/container builds it."""

import subprocess
import sys
from pathlib import Path

import pytest

HADOLINT = Path(sys.executable).with_name("hadolint")
DOCKERFILE = Path(__file__).parents[2] / "k8s" / "Dockerfile"


def complaints(text: str) -> str:
    """What hadolint says of a container file, each in a line."""
    done = subprocess.run([HADOLINT, "--no-color", "-"], input=text, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    assert bool(done.stdout) == bool(done.returncode)
    return done.stdout


def test_the_linter_has_nothing_to_say():
    assert complaints(DOCKERFILE.read_text()) == ""


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ("--no-install-recommends ", "", "DL3015"),
        ("--yes ", "", "DL3014"),
        ("--no-cache-dir ", "", "DL3042"),
        ("USER 1000:1000", "USER root", "DL3002"),
        ("WORKDIR /tmp", "WORKDIR tmp", "DL3000"),
    ],
)
def test_the_linter_sees_what_is_wrong(right: str, wrong: str, rule: str):
    text = DOCKERFILE.read_text()
    assert right in text
    assert rule in complaints(text.replace(right, wrong))
