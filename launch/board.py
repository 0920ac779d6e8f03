"""What TensorBoard shows of a run beside its training."""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import image, scalar

from ..data.files import replacing


def write(
    directory: Path, scalars: Mapping[str, float], images: Mapping[str, UInt8[np.ndarray, "height width 3"]]
) -> None:
    """Add a file of TensorBoard's events, whole or not at all. Raises FileError.

    By hand: the thread of tensorboardX's SummaryWriter ends where a disk is full, and then the writer waits
    for it for ever.
    """
    summaries = [scalar(tag, value) for tag, value in scalars.items()]
    summaries += [image(tag, picture, dataformats="HWC") for tag, picture in images.items()]
    name = f"events.out.tfevents.{time.time_ns() / 1e9:.6f}.{socket.gethostname()}.{os.getpid()}"
    with replacing(directory / name) as partial:
        file = RecordWriter(str(partial))
        try:
            for about in ({"file_version": "brain.Event:2"}, *({"summary": part} for part in summaries)):
                file.write(Event(wall_time=time.time(), **about).SerializeToString())
        finally:
            file.close()
