"""Pickled dictionaries of NumPy arrays, opened without running anything that the pickle asks for.

Every name in the pickle becomes one of the stand-ins below, and any other is refused: nothing is imported or
called. Stand-ins remember where in the file the bytes of an array are, so that files larger than memory open.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ..molecules.residues import MoleculeError
from .arrays import StoredArray, read_header

_LARGE = 2**16
"""Bytes from which the content of an array stays in the file."""


class _StandIn:
    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a state where there is none")


class _Span(_StandIn):
    """Bytes left in the file."""

    def __init__(self, offset: int, length: int):
        self.offset, self.length = offset, length


class _ArrayType(_StandIn):
    """numpy.ndarray, which is only ever an argument."""


class _Dtype(_StandIn):
    """numpy.dtype."""

    def __init__(self, code: Any, *rest: Any):
        if not isinstance(code, str):
            raise pickle.UnpicklingError(f"an array of {code!r}")
        self.numpy = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if not self.numpy.hasobject:
            self.numpy = self.numpy.newbyteorder(state[1])


class _Array(_StandIn):
    """numpy.core.multiarray._reconstruct: an array, which gets its content from its state."""

    def __init__(self, *rest: Any):
        self.shape, self.dtype, self.fortran = (0,), np.dtype("f4"), False
        self.content: Any = b""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, dtype, fortran, content = state[-4:]
        self._fill(shape, dtype, fortran, content)

    def _fill(self, shape: tuple[int, ...], dtype: _Dtype, fortran: bool, content: Any) -> None:
        if not dtype.numpy.hasobject:
            length = content.length if isinstance(content, _Span) else len(content)
            if length != dtype.numpy.itemsize * int(np.prod(shape)):
                raise pickle.UnpicklingError(f"{length} bytes for an array of shape {shape}")
        self.shape, self.dtype, self.fortran, self.content = shape, dtype.numpy, bool(fortran), content


class _FromBuffer(_Array):
    """numpy.core.numeric._frombuffer: an array of protocol 5."""

    def __init__(self, content: Any, dtype: _Dtype, shape: tuple[int, ...], order: str, *rest: Any):
        self._fill(shape, dtype, order == "F", content)


class _Scalar(_StandIn):
    """numpy.core.multiarray.scalar: a number or a string."""

    def __new__(cls, dtype: _Dtype, content: bytes) -> Any:
        return np.frombuffer(content, dtype.numpy)[0].item()


class _Encoded(_StandIn):
    """_codecs.encode, and bytes where there are none: how protocols below 3 write bytes."""

    def __new__(cls, text: str = "", encoding: str = "latin1") -> Any:
        return text.encode("latin1")


_STAND_INS = {
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Encoded,
    ("__builtin__", "bytes"): _Encoded,
} | {
    (f"numpy.{core}.{module}", name): stand_in
    for core in ("core", "_core")
    for module, name, stand_in in (
        ("multiarray", "_reconstruct", _Array),
        ("multiarray", "scalar", _Scalar),
        ("numeric", "_frombuffer", _FromBuffer),
    )
}


class _Refused(Exception):
    pass


# The unpickler in Python, not that in C, as its opcodes can be replaced.
class _Unpickler(pickle._Unpickler):
    read: Any
    append: Any
    _unframer: Any

    def __init__(self, file: io.BufferedReader):
        super().__init__(file)
        self.file = file

    def find_class(self, module: str, name: str) -> Any:
        stand_in = _STAND_INS.get((module, name))
        if stand_in is None:
            raise _Refused(f"{module}.{name}")
        return stand_in

    def read_bytes(self, width: int, wrap: type) -> None:
        length = int.from_bytes(self.read(width), "little")
        frame = self._unframer.current_frame
        in_frame = frame is not None and frame.tell() < len(frame.getbuffer())
        if length < _LARGE or in_frame:
            self.append(wrap(self.read(length)))
            return
        self.append(_Span(self.file.tell(), length))
        self.file.seek(length, io.SEEK_CUR)

    dispatch = pickle._Unpickler.dispatch | {
        pickle.BINBYTES[0]: lambda self: self.read_bytes(4, bytes),
        pickle.BINBYTES8[0]: lambda self: self.read_bytes(8, bytes),
        pickle.BYTEARRAY8[0]: lambda self: self.read_bytes(8, bytes),
    }
    # They reach what other code of this process has registered.
    for code in (pickle.EXT1, pickle.EXT2, pickle.EXT4):
        del dispatch[code[0]]


def read_dictionary(path: Path) -> dict[str, StoredArray]:
    """The arrays of a .npy file that holds one pickled dictionary, by name.

    Raises MoleculeError if the pickle wants anything but NumPy's arrays, or is damaged.
    """
    try:
        with open(path, "rb") as file:
            read_header(file)
            outer = _Unpickler(file).load()
    except _Refused as refused:
        raise MoleculeError(
            f"{path}: the pickle asks for {refused}, and only NumPy arrays are admitted: none of it was run. "
            "Get the file from where it was published, or save the arrays with numpy.savez"
        ) from None
    except Exception as error:  # A damaged pickle ends in whatever its opcodes meet.
        raise MoleculeError(f"{path}: not a pickled NumPy array ({error!r}): get the file again") from None
    boxed = isinstance(outer, _Array) and outer.dtype.hasobject and outer.content
    inner = outer.content[0] if boxed else outer
    if not isinstance(inner, dict):
        raise MoleculeError(f"{path}: holds no dictionary: it has to map peptides to arrays of positions")
    found = {}
    for key, value in inner.items():
        if not isinstance(value, _Array) or value.dtype.hasobject:
            raise MoleculeError(f"{path}: {key!r} is no array of positions, as each value has to be")
        span = value.content
        large = isinstance(span, _Span)
        found[str(key)] = StoredArray(
            path,
            f"array {key!r}",
            value.dtype.str,
            tuple(value.shape),
            value.fortran,
            span.offset if large else 0,
            None if large else bytes(span),
        )
    return found
