"""How many whole frames a trajectory holds, and at what times, told from its headers without reading it.

mdtraj counts torn frames, drops them without a word (DCD), or reads nothing of a file that is cut (NetCDF).
"""

import gzip
import mmap
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from .opening import MDCRD, NETCDF, ending_of

AKMA = 0.04888821
"""CHARMM's unit of time in ps, in which headers of DCD give the time step."""
_STEPS = (0.005, 0.5)
"""In `AKMA`, 0.24 to 24 fs: what is beyond was written by programs that do not know the time step."""
_MIDDLE = "the file ends in the middle of frame {}"
_XTC_MAGIC, _TRR_MAGIC = (1995, 2023), 1993
_XTC_SIZES = range(9, 73)
"""Places in XTC's table of sizes; mdtraj looks beyond its ends, and crashes."""


@dataclass(frozen=True)
class Extent:
    """Of one file. All None of a format, or variety of it, whose headers are not known here."""

    frames: int | None = None
    """Whole ones."""
    problem: str | None = None
    """Why there are not more, if the file is not what it should be."""
    times: Float[np.ndarray, "frames"] | None = None
    """In ps, where the file tells them."""
    positions: "Layout | None" = None
    """Where they stand in the file, if it is NetCDF."""


@dataclass(frozen=True)
class Layout:
    """An array of records in a file."""

    frames: int
    dtype: str
    shape: tuple[int, ...]
    """Of one record."""
    offset: int
    stride: int

    def of(self, path: Path) -> np.ndarray:
        """The records, as a memory map."""
        with open(path, "rb") as file:
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        inner = np.empty(self.shape, self.dtype).strides
        return np.ndarray((self.frames, *self.shape), self.dtype, buffer, self.offset, (self.stride, *inner))


def extent_of(path: Path) -> Extent:
    """What the headers say."""
    if not os.path.isfile(path):
        return Extent()
    stamp = path.stat()
    return _extent(path, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=8)
def _extent(path: Path, _: int, size: int) -> Extent:
    if size == 0:
        return Extent(0)
    read: Callable[[Any], Extent | None] | None = {
        ".xtc": partial(_walk, frame=_xtc_frame),
        ".trr": partial(_walk, frame=_trr_frame),
        ".dcd": _dcd,
        **dict.fromkeys(NETCDF, _netcdf),
    }.get(ending_of(path))
    if read is None:
        return Extent()
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return read(data) or Extent()
    except struct.error:
        return Extent(0, "the file ends in its header")
    except (OSError, ValueError, LookupError):
        return Extent()  # Something else: let mdtraj say what it thinks.


def lines_left(path: Path, atoms: int, frames: int) -> bool:
    """Whether a file of text has lines behind so many frames, which mdtraj passes over without a word."""
    ending = ending_of(path)
    if ending not in (*MDCRD, ".xyz", ".xyz.gz", ".lammpstrj"):
        return False
    with gzip.open(path, "rb") if ending.endswith(".gz") else open(path, "rb") as file:
        lines = sum(1 for line in file if line.strip())
    if ending in MDCRD:  # A title, then ten numbers a line, and perhaps a line of the box.
        numbers = -(-3 * atoms // 10)
        return lines - 1 not in (frames * numbers, frames * (numbers + 1))
    # The comment of an XYZ frame may be empty.
    return lines > frames * (atoms + (9 if ending == ".lammpstrj" else 2))


Frame = Callable[[Any, int], tuple[int, float] | None]
"""From a file and where a frame begins in it to the bytes of the frame and its time; None if none begins
there, 0 bytes if it is damaged."""


def _walk(data: mmap.mmap, frame: Frame) -> Extent | None:
    """Frame by frame by the lengths in their headers."""
    at, times, problem = 0, [], None
    while at < len(data):
        try:
            found = frame(data, at)
        except struct.error:  # Its header is cut.
            found = len(data) + 1, 0.0
        if found is None and not times:
            return None
        if found is None:  # The length of the one before is wrong, and mdtraj may crash over it.
            times.pop()
        if not found or not found[0]:
            problem = f"frame {len(times)} is damaged, and what follows cannot be read"
            break
        if at + found[0] > len(data):
            problem = _MIDDLE.format(len(times))
            break
        at += found[0]
        times.append(found[1])
    return Extent(len(times), problem, np.array(times))


def _xtc_frame(data: Any, at: int) -> tuple[int, float] | None:
    magic, atoms, _, time = struct.unpack_from(">3if", data, at)
    if magic not in _XTC_MAGIC or atoms <= 0:
        return None
    if atoms <= 9:  # So few are not compressed.
        return 56 + 12 * atoms, time
    again, precision, *bounds, size = struct.unpack_from(">if7i", data, at + 52)
    # NaN is written as the least integer, and its differences have more bits than there are.
    widths = [last - first for first, last in zip(bounds[:3], bounds[3:], strict=True)]
    if again != atoms or not precision > 0 or size not in _XTC_SIZES:
        return 0, time
    if min(widths) < 0 or max(widths) >= 2**31 - 1:
        return 0, time
    wide = magic == _XTC_MAGIC[1]
    (count,) = struct.unpack_from(">q" if wide else ">i", data, at + 88)
    return 88 + (8 if wide else 4) + (count + 3) // 4 * 4 if count > 0 else 0, time


def _trr_frame(data: Any, at: int) -> tuple[int, float] | None:
    magic, _, name = struct.unpack_from(">3i", data, at)
    if magic != _TRR_MAGIC or not 0 < name < 256:
        return None
    head = at + 12 + (name + 3) // 4 * 4
    sizes = struct.unpack_from(">13i", data, head)
    atoms, box, positions = sizes[10], sizes[2], sizes[7]
    if atoms <= 0 or min(sizes[:10]) < 0:
        return None
    real = box // 9 if box else positions // (3 * atoms)
    (time,) = struct.unpack_from(">d" if real == 8 else ">f", data, head + 52)
    return head - at + 52 + 2 * real + sum(sizes[:10]), time


def _dcd(data: Any) -> Extent | None:
    order = next((order for order in "<>" if struct.unpack_from(f"{order}i", data)[0] == 84), None)
    if order is None or data[4:8] != b"CORD":
        return None
    control = struct.unpack_from(f"{order}20i", data, 8)
    if control[8]:  # Some atoms are fixed, and only the first frame has all.
        return None
    charmm = control[19] != 0
    step = struct.unpack_from(f"{order}f" if charmm else f"{order}d", data, 8 + 36)[0]
    at = 92
    (title,) = struct.unpack_from(f"{order}i", data, at)
    at += title + 8
    (_, atoms, _) = struct.unpack_from(f"{order}3i", data, at)
    at += 12
    cell, fourth = (control[10] != 0, control[11] != 0) if charmm else (False, False)
    size = 56 * cell + (3 + fourth) * (4 * atoms + 8)
    frames, rest = divmod(len(data) - at, size)
    problem = _MIDDLE.format(frames) if rest else None
    if not rest and control[0] > frames:
        problem = f"the file ends behind frame {frames - 1} of the {control[0]} that it should have"
    known = _STEPS[0] <= step <= _STEPS[1] and control[2] > 0
    return Extent(frames, problem, AKMA * step * control[2] * np.arange(frames) if known else None)


_NETCDF_TYPES = {1: "i1", 2: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8"}


class _Variable(NamedTuple):
    name: str
    dimensions: list[int]
    dtype: str
    size: int
    """Bytes of a record."""
    begin: int
    """Where the first is."""


@dataclass
class _Reader:
    """The header of a NetCDF file of the classic format, which stands at the next entry."""

    data: Any
    wide: bool
    at: int = 4

    def integer(self, code: str = "i") -> int:
        (value,) = struct.unpack_from(f">{code}", self.data, self.at)
        self.at += struct.calcsize(code)
        return value

    def name(self) -> str:
        size = self.integer()
        text = self.data[self.at : self.at + size].decode()
        self.at += (size + 3) // 4 * 4
        return text

    def entries(self) -> range:
        self.integer()  # What kind they are of.
        return range(self.integer())

    def pass_attributes(self) -> None:
        for _ in self.entries():
            self.name()
            size = np.dtype(_NETCDF_TYPES[self.integer()]).itemsize
            count = self.integer()
            self.at += (count * size + 3) // 4 * 4

    def variable(self) -> _Variable:
        name = self.name()
        dimensions = [self.integer() for _ in range(self.integer())]
        self.pass_attributes()
        dtype = _NETCDF_TYPES[self.integer()]
        return _Variable(name, dimensions, dtype, self.integer("I"), self.integer("q" if self.wide else "i"))


def _netcdf(data: Any) -> Extent | None:
    if data[:3] != b"CDF" or data[3] not in (1, 2):
        return None
    reader = _Reader(data, wide=data[3] == 2)
    promised = reader.integer()
    sizes = {}
    for number in reader.entries():
        reader.name()
        sizes[number] = reader.integer()
    reader.pass_attributes()
    variables = [reader.variable() for _ in reader.entries()]
    records = {v.name: v for v in variables if v.dimensions and sizes[v.dimensions[0]] == 0}
    if "coordinates" not in records:
        return None
    stride, positions = sum(v.size for v in records.values()), records["coordinates"]
    frames = max(0, len(data) - min(v.begin for v in records.values())) // stride
    problem = _MIDDLE.format(frames) if frames < promised else None
    frames = frames if promised < 0 else min(frames, promised)
    shape = tuple(sizes[number] for number in positions.dimensions[1:])
    times = None
    if time := records.get("time"):
        code = ">d" if time.dtype == ">f8" else ">f"
        places = range(time.begin, time.begin + frames * stride, stride)
        times = np.array([struct.unpack_from(code, data, at)[0] for at in places])
    return Extent(frames, problem, times, Layout(frames, positions.dtype, shape, positions.begin, stride))
