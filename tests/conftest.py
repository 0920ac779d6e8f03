"""Every test runs with jaxtyping's shapes and the annotations of fokker's functions checked by beartype."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

from .user import environment, guest, user, whole

__all__ = ["environment", "guest", "user", "whole"]

install_import_hook("fokker", "beartype.beartype")

# The same examples everywhere, and nothing asserts a time.
settings.register_profile("fokker", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("fokker")

# Shells start background jobs with SIGINT ignored, and then Ctrl-C raises nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)


def missing(tool: str, reason: str) -> NoReturn:
    """Leave a test out; a failure where FOKKER_REQUIRE names the tool, as where .ci/run has installed it."""
    (pytest.fail if tool in os.environ.get("FOKKER_REQUIRE", "").split() else pytest.skip)(reason)


def _mount(folder: Path, *options: str) -> None:
    done = subprocess.run(["mount", *options, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here, as root can: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own of 1 MB; skipped where none can be mounted."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    _mount(folder, "-t", "tmpfs", "-o", "size=1m", "tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that takes no files, from root either; skipped where none can be mounted."""
    folder = tmp_path / "read only"
    folder.mkdir()
    _mount(folder, "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
