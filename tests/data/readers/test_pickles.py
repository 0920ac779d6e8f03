"""Pickled arrays come back as NumPy wrote them, and a pickle that wants anything else runs none of it."""

import copyreg
import os
import pickle
import subprocess
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fokker.data.molecules.residues import MoleculeError
from fokker.data.readers.pickles import _STAND_INS, read_dictionary

RNG = np.random.default_rng(0)
LARGE = RNG.normal(size=(4000, 24)).astype(np.float32)
SMALL = RNG.normal(size=(3, 5, 3))


def write(path: Path, value: Any, protocol: int | None = None) -> Path:
    """As numpy.save does, whose protocol is fixed."""
    boxed = np.empty((), object)
    boxed[()] = value
    np.save(path, boxed, allow_pickle=True)
    if protocol is not None:
        content = path.read_bytes()
        header = content[: content.index(b"\n") + 1]
        path.write_bytes(header + pickle.dumps(boxed, protocol))
    return path


@pytest.mark.parametrize("protocol", [None, 1, 2, 3, 4, 5])
def test_arrays_come_back_as_they_were(protocol: int | None, tmp_path: Path):
    arrays = {
        "AC": LARGE,
        "large, of another order": np.asfortranarray(LARGE.reshape(4000, 8, 3)),
        "small": SMALL,
        "big-endian": SMALL.astype(">f4"),
        "again": LARGE[:2000],
        "half": LARGE.astype(np.float16),
        "empty": np.zeros((0, 6)),
    }
    read = read_dictionary(write(tmp_path / "a.npy", arrays, protocol))
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        mine = read[name].open()
        np.testing.assert_array_equal(mine, array, err_msg=name)
        assert (mine.dtype, mine.shape) == (array.dtype, array.shape)


@pytest.mark.parametrize("protocol", [None, 3, 4, 5])
def test_large_arrays_stay_in_the_file(protocol: int | None, tmp_path: Path):
    read = read_dictionary(write(tmp_path / "a.npy", {"AC": LARGE, "small": SMALL}, protocol))
    assert isinstance(read["AC"].open(), np.memmap)
    assert read["AC"].content is None
    assert not isinstance(read["small"].open(), np.memmap)


def test_keys_may_be_strings_of_numpy(tmp_path: Path):
    assert list(read_dictionary(write(tmp_path / "a.npy", {np.str_("AC"): SMALL}))) == ["AC"]


class Runs:
    def __init__(self, function: Any, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


MARK = "ran"


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize(
    ("call", "asked"),
    [
        ((os.system, f"touch {MARK}"), r"posix\.system"),
        ((eval, f"open('{MARK}', 'w')"), r"(builtins|__builtin__)\.eval"),
        ((subprocess.check_call, ["touch", MARK]), r"(subprocess|commands)\.check_call"),
        ((open, MARK, "w"), r"(_io|io|__builtin__)\.open"),
        ((np.savetxt, MARK, [0]), r"numpy\.savetxt"),
        ((np.load, "other.npy"), r"numpy\.load"),
        ((getattr, "text", "upper"), r"(builtins|__builtin__)\.getattr"),
        ((OrderedDict, {"AC": 1}), r"collections\.OrderedDict"),
    ],
)
@pytest.mark.parametrize("hidden", [False, True])
def test_a_pickle_that_calls_anything_is_refused_before_it_runs(
    call: tuple[Any, ...],
    asked: str,
    protocol: int,
    hidden: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    payload = {"AC": SMALL, "AG": [Runs(*call)]} if hidden else Runs(*call)
    boxed = np.empty((), object)
    boxed[()] = payload
    header = write(Path("a.npy"), None).read_bytes()
    path = tmp_path / "evil.npy"
    path.write_bytes(header[: header.index(b"\n") + 1] + pickle.dumps(boxed, protocol))
    with pytest.raises(
        MoleculeError, match=rf"evil\.npy: the pickle asks for {asked}, and only NumPy arrays are"
    ):
        read_dictionary(path)
    assert not Path(MARK).exists()


def test_the_malicious_pickle_would_have_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "evil.npy", Runs(os.system, f"touch {MARK}"))
    np.load(path, allow_pickle=True)
    assert Path(MARK).exists()


def crafted(tmp_path: Path, opcodes: bytes) -> Path:
    header = write(tmp_path / "a.npy", None).read_bytes()
    path = tmp_path / "crafted.npy"
    path.write_bytes(header[: header.index(b"\n") + 1] + opcodes)
    return path


PLANT = b"N}X\x07\x00\x00\x00plantedK\x01s\x86b."  # Sets an attribute of whatever stands before.
RECONSTRUCT, DTYPE = b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\ndtype\n"


@pytest.mark.parametrize(
    "opcodes",
    [
        RECONSTRUCT + PLANT,
        DTYPE + PLANT,
        b"cnumpy\nndarray\n" + PLANT,
        b"c_codecs\nencode\n" + PLANT,
        DTYPE + b"(X\x03\x00\x00\x00V99tR.",
        b"Pname\n.",  # A persistent id.
        b"\x82\x01.",  # An extension code, which another library may have registered.
        b"c__main__\nx\n.",
        b"X\xff\xff\xff\x7f.",  # A string longer than the file.
        b"B\xff\xff\xff\x7fabc.",  # Bytes longer than the file.
        b"",
        b".",
        b"garbage",
    ],
)
def test_a_crafted_pickle_is_refused(opcodes: bytes, tmp_path: Path):
    with pytest.raises(MoleculeError, match=r"crafted\.npy"):
        read_dictionary(crafted(tmp_path, opcodes))
    assert not any(hasattr(stand_in, "planted") for stand_in in _STAND_INS.values())


def test_an_array_type_that_is_no_name_is_refused(tmp_path: Path):
    with pytest.raises(MoleculeError, match=r"crafted\.npy: not a pickled NumPy array .*an array of \[\]"):
        read_dictionary(crafted(tmp_path, DTYPE + b"(]tR."))


def test_what_other_code_has_registered_is_out_of_reach(tmp_path: Path):
    code = 0xF0
    copyreg.add_extension("os", "getcwd", code)
    try:
        opcodes = b"\x82\xf0)R."
        assert pickle.loads(opcodes) == os.getcwd()  # It lies in the registry's cache from now on.
        with pytest.raises(MoleculeError, match=r"crafted\.npy: not a pickled NumPy array"):
            read_dictionary(crafted(tmp_path, opcodes))
    finally:
        copyreg.remove_extension("os", "getcwd", code)


@pytest.mark.parametrize("array", [SMALL, LARGE[:3990]])
def test_an_array_whose_bytes_are_not_as_many_as_its_shape_is_refused(array: np.ndarray, tmp_path: Path):
    path = write(tmp_path / "a.npy", {"AC": array.reshape(15, -1)})
    content = path.read_bytes()
    fifteen, fourteen = (pickle.BININT1 + bytes([number]) for number in (15, 14))
    assert fifteen in content
    path.write_bytes(content.replace(fifteen, fourteen, 1))
    with pytest.raises(MoleculeError, match="bytes for an array of shape"):
        read_dictionary(path)


def test_a_file_cut_short_is_refused(tmp_path: Path):
    path = write(tmp_path / "a.npy", {"AC": LARGE})
    content = path.read_bytes()
    for length in (0, 5, 100, 200, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(MoleculeError, match=r"a\.npy: not a pickled NumPy array"):
            read_dictionary(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([LARGE], "holds no dictionary"),
        ("text", "holds no dictionary"),
        ({"AC": 1}, "'AC' is no array of positions"),
        ({"AC": {"positions": SMALL}}, "'AC' is no array of positions"),
        ({"AC": np.array([SMALL, None], object)}, "'AC' is no array of positions"),
    ],
)
def test_other_contents_are_refused(value: Any, message: str, tmp_path: Path):
    with pytest.raises(MoleculeError, match=rf"a\.npy: .*{message}"):
        read_dictionary(write(tmp_path / "a.npy", value))
