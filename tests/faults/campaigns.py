"""Campaigns in processes of their own, which the tests disturb; each starts a Ray of two CPUs for itself."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from fokker.distributed.campaigns.ledger import LEDGER, Ledger
from fokker.distributed.campaigns.segments import Store

from ..campaigns import assert_same, segments, works
from .conftest import CAMPAIGNS, MARK, PATIENCE, processes, wait_for

FOKKER = Path(sys.executable).with_name("fokker")
DRIVER = Path(__file__).with_name("campaign_driver.py")
COMPUTING = re.compile(r"ray::PoolWorker\.run\b")


@dataclass
class Disturbed:
    """`fokker campaign run` of a file, and what it leaves."""

    root: Path
    values: Mapping[str, Any]
    planted: str | None = None
    """Fault that is put into the command, until it is taken away."""
    address: str | None = None
    """Of a cluster that is joined."""
    words: tuple[str, ...] = ()
    actors: str | None = None
    """Mark of the actors, where a cluster was joined that was started with another one."""
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    driver: Any = field(init=False, default=None)
    """Process of the command."""

    def __post_init__(self) -> None:
        self.root.mkdir(exist_ok=True)
        (self.root / "mine.yaml").write_text(json.dumps(self.values))  # JSON is YAML.

    @property
    def directory(self) -> Path:
        return self.root / "campaigns" / "mine"

    @property
    def marker(self) -> Path:
        return self.root / "marker"

    @property
    def output(self) -> str:
        return (self.root / "output").read_text()

    @property
    def environment(self) -> dict[str, str]:
        """Of the command and all that it starts."""
        environment = os.environ | {
            MARK: self.mark,
            "COLUMNS": "80",
            "RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": 2}),
            "RAY_AUTH_TOKEN": TOKEN,
            "RAY_worker_niceness": "0",
            "RAY_prestart_worker_first_driver": "0",  # Saves the start of workers that no command uses.
        }
        environment.pop("RAY_ADDRESS", None)
        return environment | ({} if self.address is None else {"RAY_ADDRESS": self.address})

    def start(self) -> Self:
        """Run the command, again if it ran before."""
        command = [FOKKER] if self.planted is None else [sys.executable, DRIVER, self.planted, self.marker]
        words = ["campaign", "run", "mine.yaml", *self.words]
        with open(self.root / "output", "a") as output:
            self.driver = subprocess.Popen(
                [*command, *words], cwd=self.root, env=self.environment, stdout=output, stderr=output
            )
        return self

    def finish(self, status: int = 0) -> None:
        """Wait for the end of the driver, its status, and that nothing of it is left."""
        found = self.driver.wait(PATIENCE)
        assert found == status, self.output[-3000:]
        self.assert_nothing_is_left()

    def assert_nothing_is_left(self) -> None:
        """No process of the campaign lives on."""
        wait_for(lambda: not processes(self.mark), lambda: f"{processes(self.mark)} are left", seconds=90)

    def computing(self) -> list[int]:
        """Actors that are at a segment."""
        return [
            process
            for process, title in processes(self.actors or self.mark).items()
            if COMPUTING.match(title)
        ]

    @property
    def done(self) -> int:
        """Segments that are there."""
        return len(segments(self.directory))

    def wait(self, condition: Callable[[], Any], problem: str) -> None:
        """Until a condition holds; the driver must not end before."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self.driver.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{problem}\n{self.output[-3000:]}")
            time.sleep(0.01)

    def wait_for_segments(self, count: int) -> None:
        """Until so many are there, and as many actors as there is room for are at others."""
        self.wait(lambda: self.done >= count, f"{count} segments are not there")
        self.wait(lambda: len(self.computing()) == 2, "no two actors are at segments")

    def failed(self) -> int:
        """Attempts at segments that came to nothing, as the ledgers say."""
        lines = [line for work in works(self.directory) for line in Ledger(Store(work))._lines(LEDGER)]
        return sum(line["event"] == "failed" for line in lines)

    @contextmanager
    def fault(self, row: str, how: str, lost: int | str | None = None) -> Iterator[None]:
        """Around a fault: wait until a new segment is there, and note what that cost.

        Unless it is said how many segments are `lost`, those that actors are at, and do not finish.
        """
        running, before, begin = len(self.computing()), self.done, time.monotonic()
        yield
        kept = self.done
        self.wait(lambda: self.done > kept, "no segment follows")
        again = running - (kept - before) if lost is None else lost
        CAMPAIGNS.append((row, how, str(again), f"{time.monotonic() - begin:.1f} s"))

    def kill(self, all_but_the_driver: bool = False) -> None:
        """End what carries the mark; the rest ends by itself."""
        if not all_but_the_driver:
            self.driver.kill()
            self.driver.wait()
            self.assert_nothing_is_left()
            return
        for process in processes(self.mark):
            if process != self.driver.pid:
                os.kill(process, signal.SIGKILL)

    def assert_same(self, other: "Disturbed") -> None:
        """What it leaves is what another one left, byte for byte, and nothing beside it."""
        assert_same(self.directory, other.directory)
        assert not [*self.directory.rglob(".partial-*")]


TOKEN = secrets.token_hex(32)
