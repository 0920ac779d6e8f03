"""What is written is there whole or not at all, and what refuses it is one line."""

import errno
import hashlib
import json
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from fokker.data import files
from fokker.data.files import FileError

FULL = r"cannot be written: no space left on device: nothing is half-written; free some space, or choose"


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def values(path: Path) -> list[int]:
    with files.reading(path) as opened, np.load(opened) as arrays:
        return arrays["a"].tolist()


def fail(path: Path, error: BaseException) -> None:
    with files.replacing(path) as partial:
        partial.write_text("half")
        raise error


# Writing


def test_content_and_missing_folders_are_there_afterwards_and_nothing_else(tmp_path: Path):
    path = tmp_path / "läufe ü" / "deep" / "text.txt"
    files.write(path, "φ is Å\n")
    assert path.read_bytes() == "φ is Å\n".encode()
    files.write(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert left(path.parent) == ["text.txt"]


def test_a_name_that_is_no_text_is_written_as_the_bytes_that_it_is(tmp_path: Path):
    path = tmp_path / "text"
    files.write(path, "of " + os.fsdecode(b"l\xe4ufe"))
    assert path.read_bytes() == b"of l\xe4ufe"


def test_while_it_is_written_the_old_content_is_there_and_the_ending_is_the_same(tmp_path: Path):
    path = tmp_path / "array.npy"
    path.write_text("old")
    with files.replacing(path) as partial:
        assert partial.suffix == ".npy"
        assert partial.parent == tmp_path
        np.save(partial, np.arange(3))
        assert path.read_text() == "old"
    assert np.load(path).tolist() == [0, 1, 2]
    assert left(tmp_path) == ["array.npy"]


@pytest.mark.parametrize("error", [KeyError("a bug"), KeyboardInterrupt()])
def test_what_goes_wrong_within_leaves_the_old_content_alone(tmp_path: Path, error: BaseException):
    path = tmp_path / "text"
    path.write_text("old")
    with pytest.raises(type(error)):
        fail(path, error)
    assert path.read_text() == "old"
    assert left(tmp_path) == ["text"]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path):
    path = tmp_path / "text"
    with files.replacing(path) as one, files.replacing(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"
    assert left(tmp_path) == ["text"]


def test_what_killed_writers_left_of_a_file_is_removed_and_no_others(tmp_path: Path):
    for name in ("mine.npz", "others.npz"):
        with files.replacing(tmp_path / name) as partial:
            partial.touch()
            os.link(partial, partial.with_name(f"{partial.stem}-left{partial.suffix}"))
    assert len(left(tmp_path)) == 4
    files.remove_partials(tmp_path / "mine.npz")
    rest = left(tmp_path)
    assert len(rest) == 3
    files.remove_partials(tmp_path / "others.npz")
    assert left(tmp_path) == ["mine.npz", "others.npz"]


# JSON


def test_json_is_written_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "values.json"
    files.write_json(path, {"a": (1, 2.5)})
    with pytest.raises(TypeError):
        files.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == files.read_json(path) == {"a": [1, 2.5]}
    assert left(tmp_path) == ["values.json"]


def test_json_has_null_for_numbers_that_are_not_finite(tmp_path: Path):
    path = tmp_path / "values.json"
    files.write_json(path, {"a": [float("nan"), 1.0], "b": {"c": float("-inf")}})
    assert json.loads(path.read_text()) == {"a": [None, 1.0], "b": {"c": None}}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "it is empty"), (b'{"a": ', "Expecting value"), (b"\xff\xfe\x00", ".*"), (b"<html>", ".*")],
)
def test_json_that_is_damaged_is_named(tmp_path: Path, content: bytes, reason: str):
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    with pytest.raises(FileError, match=rf"metrics\.json is damaged \({reason}.*\): remove it, and"):
        files.read_json(path)


def test_json_that_is_missing_is_another_matter(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        files.read_json(tmp_path / "none.json")
    with pytest.raises(FileError, match="cannot be read: is a directory"):
        files.read_json(tmp_path)


@pytest.mark.parametrize("kept", [0, 1, 100, -30])
def test_an_archive_that_is_cut_short_is_named(tmp_path: Path, kept: int):
    path = tmp_path / "chunk.npz"
    np.savez(path, a=np.arange(100))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FileError, match=r"chunk\.npz is damaged \(.+\): remove it"):
        values(path)


# Places that refuse


def test_a_full_disk_is_one_line_and_keeps_what_was_there(small_disk: Path):
    path = small_disk / "runs" / "text"
    files.write(path, "old")
    with pytest.raises(FileError, match=re.escape(str(path)) + f" {FULL}") as caught:
        files.write(path, b"x" * 2_000_000)
    assert "\n" not in str(caught.value)
    with pytest.raises(FileError, match=FULL), files.replacing(path.with_name("array.npy")) as partial:
        np.save(partial, np.zeros(1_000_000))
    assert path.read_text() == "old"
    assert left(path.parent) == ["text"]


def test_a_read_only_file_system_is_one_line_for_root_too(read_only: Path):
    with pytest.raises(FileError, match="cannot be written: read-only file system: choose another place"):
        files.write(read_only / "runs" / "text", "new")
    with pytest.raises(FileError, match="cannot be written: read-only file system"):
        files.require_writable(read_only)


def test_a_file_in_the_way_is_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "text", tmp_path / "file" / "deep" / "text"):
        with pytest.raises(FileError, match=r"cannot be written: .*(exists|not a directory): choose"):
            files.write(path, "new")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="folder cannot be written: is a directory"):
        files.write(tmp_path / "folder", "new")


@pytest.mark.parametrize("name", ["x" * 256, "ü" * 128, "x" * 300 + ".npz"])
def test_a_name_over_255_bytes_is_one_line(tmp_path: Path, name: str):
    with pytest.raises(FileError, match="its name is too long: choose one of at most 255 bytes"):
        files.write(tmp_path / name, "new")
    with pytest.raises(FileError, match="its name is too long"):
        files.write(tmp_path / name / "text", "new")
    assert left(tmp_path) == []


def test_a_name_of_255_bytes_is_none_too_long(tmp_path: Path):
    path = tmp_path / ("ü" * 124 + "x.jsonl")
    assert len(os.fsencode(path.name)) == 255
    files.write(path, "new")
    assert path.read_text() == "new"


def test_a_place_is_writable_if_a_file_can_be_made_and_is_left_as_it_was(tmp_path: Path):
    files.require_writable(tmp_path / "new" / "folder", space=1)
    assert left(tmp_path / "new" / "folder") == []


def test_too_little_space_is_known_before(small_disk: Path):
    message = r"small disk: 0\.00\d+ GB are free, and about 0\.002 GB are needed: free some space, or choose"
    with pytest.raises(FileError, match=message):
        files.require_writable(small_disk, space=2_000_000)


def test_an_error_travels_from_another_process():
    error = files.file_error(Path("/a"), OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)))
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert "free some space" in str(error)


# Hashes


def test_hashes_are_those_of_the_content(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"abc")
    assert files.sha256(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()
    assert files.sha256_of({"a": 1, "b": 2}) == files.sha256_of({"b": 2, "a": 1})
    assert files.sha256_of({"a": 1}) != files.sha256_of({"a": 2})
