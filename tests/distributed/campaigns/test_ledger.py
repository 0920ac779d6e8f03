"""The ledger of a work, also where a process was killed, or the disk full, within a line."""

from pathlib import Path

import numpy as np
import pytest

from fokker.analysis.systems import System
from fokker.distributed.campaigns.ledger import FAILURES, GIVEN_UP, LEDGER, Ledger
from fokker.distributed.campaigns.segments import LEFT, Loss, Made, Segment, Store, Summary, summarise

from ..conftest import disk_full

TOY = System.particle("toy", 23.0, 0.5)
SEGMENTS = [Segment(0, 2, begin, begin + 10) for begin in (0, 10)]
LOSSES = [[Loss(1, 7, LEFT)], [Loss(0, 15, LEFT)]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two segments, in each of which a chain was lost."""
    store = Store(tmp_path)
    for segment, losses in zip(SEGMENTS, LOSSES, strict=True):
        made = Made(np.zeros((2, 3, 2), np.float32), np.ones((2, 2, 3)), losses=tuple(losses))
        store.commit(segment, made, *summarise(made, segment, TOY, 20, 1.0))
    return store


def add(store: Store, place: int) -> None:
    segment = SEGMENTS[place]
    Ledger(store).add(segment, store.summary(segment), LOSSES[place])


def lost(store: Store) -> list[int]:
    return [line["chain"] for line in Ledger(store).failures()]


@pytest.mark.parametrize("name", [LEDGER, FAILURES])
@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_line_after_one_that_was_cut_short_is_not_lost_with_it(store: Store, name: str, cut: int):
    add(store, 0)
    path = store.directory / name
    path.write_bytes(path.read_bytes()[:-cut])
    add(store, 1)
    whole = [0, 1] if cut == 1 else [1]  # Only the end of the line was missing.
    assert [line["segment"] for line in Ledger(store)._lines(name)] == [SEGMENTS[at].name for at in whole]


def test_what_a_full_disk_did_not_take_is_added_when_the_work_goes_on(store: Store):
    """Whichever of the lines it was."""
    add(store, 0)
    for name in (LEDGER, FAILURES):
        path = store.directory / name
        with disk_full(path.stat().st_size + 10):
            add(store, 1)
        assert Ledger(store).done(write=True).keys() == {*SEGMENTS}
        assert lost(store) == [1, 0]
        assert len(Ledger(store)._lines(LEDGER)) == 2
        for other in (LEDGER, FAILURES):
            lines = (store.directory / other).read_bytes().splitlines(keepends=True)
            (store.directory / other).write_bytes(lines[0])


def test_made_again_from_the_files_it_names_no_loss_twice(store: Store):
    for place in (0, 1):
        add(store, place)
    Ledger(store).failed(SEGMENTS[1], "poison", given_up=True)
    before = Ledger(store).failures()
    assert [line["event"] for line in before] == ["chain lost", "chain lost", GIVEN_UP]
    (store.directory / LEDGER).unlink()
    assert isinstance(Ledger(store).done(write=True)[SEGMENTS[0]], Summary)
    assert Ledger(store).failures() == before
