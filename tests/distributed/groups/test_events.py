"""Events of a run, also after a process that was killed within a line."""

from fokker.distributed.groups import events
from fokker.distributed.groups.events import EVENTS, Event


def test_an_event_after_a_line_that_was_cut_short_is_not_lost_with_it(tmp_path):
    Event("started", "a").append(tmp_path)
    path = tmp_path / EVENTS
    path.write_bytes(path.read_bytes() + b'{"time": "2026-')
    Event("finished", "a").append(tmp_path)
    assert [one["event"] for one in events.read(tmp_path)] == ["started", "finished"]
