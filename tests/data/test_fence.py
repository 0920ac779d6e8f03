import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fokker.data import fence, files
from fokker.data.fence import FILE, FencedError


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for held in fence.held():
        fence.let_go(held)


def begun_by_another(folder: Path) -> None:
    """What another process does that begins on the folder."""
    (folder / FILE).write_text('{"attempt": "another", "host": "far", "process": 7}')


def test_who_began_last_writes_and_who_began_before_stops(folder: Path):
    fence.take(folder)
    files.write(folder / "mine", "first")
    begun_by_another(folder)
    with pytest.raises(FencedError, match=r"another fokker has begun on it \(process 7 of host far\)"):
        files.write(folder / "mine", "second")
    assert (folder / "mine").read_text() == "first"
    assert sorted(path.name for path in folder.iterdir()) == [FILE, "mine"]


def test_a_folder_within_is_guarded_and_others_are_not(folder: Path):
    run, beside = folder / "run", folder / "beside"
    fence.take(run)
    begun_by_another(run)
    with pytest.raises(FencedError):
        files.write(run / "sample" / "1" / "chunk.npz", b"")
    with pytest.raises(FencedError):
        fence.require(run / "experts" / "0" / "checkpoints")
    files.write(beside / "metrics.json", "{}")


def test_another_process_holds_what_it_was_handed(folder: Path):
    own = fence.take(folder)
    handed = fence.held()
    fence.let_go(own)
    begun_by_another(folder)
    files.write(folder / "nobody", "holds it")
    fence.hold(handed)
    with pytest.raises(FencedError):
        files.write(folder / "nobody", "writes it")


def test_an_attempt_whose_file_is_removed_stops(folder: Path):
    fence.take(folder)
    (folder / FILE).unlink()
    with pytest.raises(FencedError, match=r"attempt\.json is gone"):
        files.write(folder / "mine", "")


def test_a_heartbeat_tells_who_is_alive_and_finds_who_has_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    fence.take(folder)
    long_ago = 1.0
    os.utime(folder / FILE, (long_ago, long_ago))
    assert fence.last(folder) == ""
    monkeypatch.setattr(fence, "_beaten", -fence.BEAT_SECONDS)
    fence.beat()
    assert fence.last(folder).startswith(f"process {os.getpid()} of host ")
    begun_by_another(folder)
    fence.beat()  # Not yet again.
    monkeypatch.setattr(fence, "_beaten", -fence.BEAT_SECONDS)
    with pytest.raises(FencedError):
        fence.beat()
    assert "attempt" in files.read_json(folder / FILE)
