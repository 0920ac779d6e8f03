"""A user's runs, the real TensorBoard on them, and a browser that looks at it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fokker.distributed.config import ClusterConfig

from ..conftest import missing
from ..faults.conftest import Training, training, wait_for
from ..user import SMALL
from .browser import Page, page

BIN = Path(sys.executable).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PICTURE = os.environ.get("FOKKER_PICTURE")
"""Where the picture of the docs goes, if it is to be made anew: then of runs of the preset's full size."""
LONGEST = 3600.0
THREE, ONE = "both", "diffusion"
"""Runs are called after their methods, of three experts and of one; of the first a group is lost."""


@dataclass
class Command(Training):
    """`fokker run` of a method, whose folder is the root."""

    settings: list[str] = field(default_factory=list)

    @property
    def command(self) -> list[str | Path]:
        return [
            *(BIN / "fokker", "run", "mueller-brown", "--method", self.root.name),
            *("--runs-dir", self.root.parent, "--name", self.root.name, *self.settings),
        ]


def settings(experts: int) -> list[str]:
    """Those of a small run, without what they say of experts that it has not."""
    kept, has = [], True
    for word in SMALL:
        if word.startswith("--"):
            has = not re.match(rf"--experts\.[{experts}-9]", word)
        kept += [word] if has else []
    return kept


def run(root: Path, experts: int) -> Command:
    (job,) = training(root, root / "data").jobs
    jobs = [replace(job, directory=root / "experts" / "0")]
    return Command(root, jobs, ClusterConfig(), settings=[] if PICTURE else settings(experts))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each method."""
    root = tmp_path_factory.mktemp("runs")
    for name, experts in ((THREE, 3), (ONE, 1)):
        this = run(root / name, experts).start()
        if name == THREE:
            wait_for(lambda: len(this.steps()) > 50, "the training does not begin", this)  # noqa: B023
            os.kill(this.workers()[0], signal.SIGKILL)
        this.driver.wait(LONGEST)
        this.finish()
    return root


@dataclass(frozen=True)
class Board:
    """A TensorBoard that answers."""

    address: str

    def ask(self, path: str, question: Any = None) -> Any:
        """What its own pages ask it."""
        data = None if question is None else json.dumps(question).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"})
        directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with directly.open(request, timeout=60) as answer:
            content = answer.read()
        return json.loads(content) if answer.headers.get_content_type() == "application/json" else content


@pytest.fixture(scope="session")
def board(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """As `tensorboard --logdir runs`, when it has read all that there is."""
    log = tmp_path_factory.mktemp("board") / "log"
    with open(log, "w") as output:
        command = [BIN / "tensorboard", "--logdir", runs, "--host", "127.0.0.1", "--port", "0"]
        process = subprocess.Popen(command, stderr=output)

    def begun() -> re.Match | None:
        assert process.poll() is None, log.read_text()
        return re.search(r" at (http://127\.0\.0\.1:\d+)/", log.read_text())

    try:
        wait_for(lambda: bool(begun()), "TensorBoard does not start")
        found = begun()
        assert found
        this = Board(found[1])
        evaluated = {f"{name}/evaluate" for name in (THREE, ONE)}
        wait_for(lambda: evaluated <= {*this.ask("/data/plugin/images/tags")}, "TensorBoard does not read")
        yield this
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where there is none this is skipped, or fails if FOKKER_REQUIRE names it."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        missing(
            "chromium", f"no browser here ({', '.join(BROWSERS)}; Debian: chromium): no page was looked at"
        )
    return found


@pytest.fixture(scope="session")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Chromium, with a page."""
    with page(chromium, tmp_path_factory.mktemp("profile")) as this:
        yield this
