"""The image of k8s/Dockerfile, really built: on a base by debootstrap, by buildah, which needs no daemon."""

import ast
import configparser
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..conftest import missing

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "k8s" / "Dockerfile"
TOOLS = ("buildah", "debootstrap", "ip")
BASE = "localhost/base"
HOST = "/mnt/host"
"""Where files of this machine that pip's settings name are in the build."""

ROWS: list[tuple[str, str]] = []


def pytest_terminal_summary(terminalreporter) -> None:
    """What was measured."""
    if ROWS:
        terminalreporter.section("image")
        for row in ROWS:
            terminalreporter.write_line(f"| {' | '.join(row)} |")


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Add a row to what was measured."""
    begin = time.monotonic()
    yield
    ROWS.append((what, f"{time.monotonic() - begin:.0f} s"))


def output(command: Sequence[str | Path]) -> str:
    """What a command prints; fails with the end of it, and of its errors, if the command does."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


@dataclass(frozen=True)
class Store:
    """Where buildah keeps images and containers."""

    root: Path

    def __call__(self, *words: str | Path) -> str:
        """What one of buildah's commands prints, without blanks at the ends."""
        own = ("--root", self.root / "images", "--runroot", self.root / "run", "--storage-driver", "vfs")
        return output(("buildah", *own, *words)).strip()


@dataclass(frozen=True)
class Image:
    """A built image, and a container of it."""

    store: Store
    container: str

    @property
    def root(self) -> Path:
        """Its files, unpacked."""
        return Path(self.store("mount", self.container))

    @property
    def description(self) -> str:
        """Its settings and its history, as JSON."""
        return self.store("inspect", self.container)

    def run(self, *command: str, volume: str | None = None) -> str:
        """What a command prints in the container, as the image's own user."""
        volumes = ("--volume", volume) if volume else ()
        return self.store("run", "--isolation", "chroot", *volumes, self.container, *command)

    def pod(self, user: int, script: str) -> str:
        """What a script of Bash prints in a pod that is as restricted as pods can be (pod.sh)."""
        environment = json.loads(self.description)["OCIv1"]["config"]["Env"]
        pod = Path(__file__).with_name("pod.sh")
        return output([pod, self.root, str(user), *environment, "/bin/bash", "-c", script])


def _pip_settings() -> dict[str, str]:
    """Pip's settings here, by name; those of the environment come last, as they do in pip."""
    settings = {"cert": str(ssl.get_default_verify_paths().cafile or "")}
    listed = output([sys.executable, "-m", "pip", "config", "list"]).splitlines()
    for line in sorted(listed, key=lambda line: line.startswith(":env:")):
        name, value = line.split("=", 1)
        settings[name.split(".", 1)[1]] = ast.literal_eval(value)
    return {name: value for name, value in settings.items() if value}


def as_here(folder: Path) -> list[str]:
    """Options by which pip in the build finds what it finds here: settings as a secret, files as volumes."""
    options = {f"--secret=id=pip,src={folder / 'pip.conf'}"}

    def moved(word: re.Match[str]) -> str:
        path = Path(word["path"])
        if not path.exists():
            return word[0]
        shared = path.parent if word["scheme"] else path  # An index links to files beside itself.
        options.add(f"--volume={shared}:{HOST}{shared}:ro")
        return f"{word['scheme']}{HOST}{path}"

    local = re.compile(r"(?<!\S)(?P<scheme>(file://)?)(?P<path>/\S+)")
    parser = configparser.RawConfigParser()
    parser["global"] = {name: local.sub(moved, value) for name, value in _pip_settings().items()}
    with (folder / "pip.conf").open("w") as file:
        parser.write(file)
    return sorted(options)


def _base(store: Store) -> None:
    """Debian of the release that the container file names."""
    release = re.search(r"^ARG BASE=debian:(\w+)-slim$", DOCKERFILE.read_text(), re.MULTILINE)
    assert release
    container = store("from", "scratch")
    output(["debootstrap", "--variant=minbase", release[1], store("mount", container)])
    store("commit", "--quiet", "--rm", container, BASE)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Built for CPUs. Skips where it cannot be."""
    absent = [tool for tool in TOOLS if not shutil.which(tool)] + ["root"] * bool(os.geteuid())
    if absent:
        missing("container", f"no image without {', '.join(absent)} (Debian: buildah, debootstrap, iproute2)")
    folder = tmp_path_factory.mktemp("image")
    store = Store(folder)
    try:
        with timed("base by debootstrap"):
            _base(store)
        options = ("--isolation", "chroot", "--file", DOCKERFILE, "--build-arg", f"BASE={BASE}")
        with timed("build"):
            store("bud", *options, *as_here(folder), "--tag", "fokker", ROOT)
        ROWS.append(("size", store("images", "--format", "{{.Size}}", "localhost/fokker")))
        yield Image(store, store("from", "localhost/fokker"))
    finally:
        output(["rm", "-rf", "--one-file-system", folder])  # Whatever may be mounted in it.
