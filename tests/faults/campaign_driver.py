"""The `fokker` command with a fault in it, which kills the process that meets it, the first time it is met.

    python campaign_driver.py FAULT MARKER WORDS…

MARKER is a file that is there once it has happened. Faults of actors are planted by a hook of Ray's, which
therefore is started here; those of the driver in this process.
"""

import os
import signal
import sys
from pathlib import Path

import ray
from ray.job_config import JobConfig

POISON = "poison"


def once(marker: str) -> bool:
    """Whether this is the first time."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after_the_xtc(marker: str) -> None:
    """Its frames are there for other programs, the segment is not."""
    from fokker.distributed.campaigns.segments import Store

    original = Store.commit

    def commit(self, segment, made, summary, reduction, ends=()):
        if segment.begin and self.xtc(segment).exists() and once(marker):
            die()
        original(self, segment, made, summary, reduction, ends)

    Store.commit = commit


def in_the_segment(marker: str) -> None:
    """Half of the file is written, under a temporary name."""
    from fokker.distributed.campaigns import segments

    original = segments._save

    def save(path, arrays):
        original(path, arrays)
        if once(marker):
            os.truncate(path, path.stat().st_size // 2)
            die()

    segments._save = save


def after_the_segment(marker: str) -> None:
    """The segment is there, and nobody was told."""
    from fokker.distributed.campaigns.segments import Store

    original = Store.commit

    def commit(self, segment, made, summary, reduction, ends=()):
        original(self, segment, made, summary, reduction, ends)
        if segment.begin and once(marker):
            die()

    Store.commit = commit


def poison(marker: str) -> None:
    """One segment fails whenever it is computed, as long as the marker is there."""
    from fokker.distributed.campaigns.works import Simulation

    original = Simulation.compute

    def compute(self, segment, start):
        if segment.first and segment.begin and os.path.exists(marker):
            raise ZeroDivisionError(POISON)
        return original(self, segment, start)

    Simulation.compute = compute


def before_the_ledger(marker: str) -> None:
    """An actor has told of a segment, and no line says so."""
    from fokker.distributed.campaigns.ledger import Ledger

    original = Ledger.add

    def add(self, segment, summary, losses):
        if segment.begin and once(marker):
            die()
        original(self, segment, summary, losses)

    Ledger.add = add


def within_the_ledger(marker: str) -> None:
    """Of a segment in which replicas were lost one line is written, and of the next a part."""
    from fokker.distributed.campaigns.ledger import Ledger

    add, append = Ledger.add, Ledger._append

    def adding(self, segment, summary, losses):
        if losses and once(marker):
            Ledger._append = dying
        add(self, segment, summary, losses)

    def dying(self, name, *what, **values):
        append(self, name, *what, **values)
        Ledger._append = cutting

    def cutting(self, name, *what, **values):
        append(self, name, *what, **values)
        path = self._store.directory / name
        os.truncate(path, path.stat().st_size - 20)
        die()

    Ledger.add = adding


def after_the_results(marker: str) -> None:
    """results.json is there, what TensorBoard shows and the page are not."""
    from fokker.distributed.runs import board

    original = board.judged

    def judged(*what):
        if once(marker):
            die()
        original(*what)

    board.judged = judged


OF_ACTORS = {one.__name__: one for one in (after_the_xtc, in_the_segment, after_the_segment, poison)}
OF_THE_DRIVER = {one.__name__: one for one in (before_the_ledger, within_the_ledger, after_the_results)}


def main(fault: str, marker: str) -> None:
    """Carry out the words that are left of the command line."""
    if fault in OF_THE_DRIVER:
        OF_THE_DRIVER[fault](marker)
    else:
        plant = OF_ACTORS[fault]
        os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
        ray.init(
            "local",
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"worker_process_setup_hook": lambda: plant(marker)},
            job_config=JobConfig(),
        )
    from fokker.launch.cli import process

    process.main()


if __name__ == "__main__":
    _, which, where, *words = sys.argv
    sys.argv = ["fokker", *words]
    assert Path(where).parent.is_dir()
    main(which, where)
