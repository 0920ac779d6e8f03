"""What TensorBoard shows of a run beside the curves of its experts.

    runs/NAME             its settings (the HParams plugin), and what happened to the groups of its experts
    runs/NAME/experts/N   curves, by distributed/recording.py
    runs/NAME/evaluate    metrics and free energies

HParams looks for the metrics of a run in the folders below the one where its settings are.
"""

import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from tensorboardX.proto.api_pb2 import DataType, Experiment, HParamInfo, MetricInfo, MetricName  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import hparams, image, scalar, text

from ...data.files import FileError, replacing
from ..groups import events
from .config import Config, to_dict
from .presets import PRESETS
from .run import Run

EVALUATED = "evaluate"
FIRST = ("method", "preset", "recipe", "seed", "train.learning_rate")
"""Settings that HParams shows at once; of the others it lists the names."""
FURTHER = (
    "objective.consistency",
    "objective.consistency_fraction",
    "objective.estimator",
    "train.batch_size",
)
OF_EXPERTS = ("interval", "hidden", "epochs", "consistency_weight")
DIFFERS = b"\x38\x01"
"""HParamInfo.differs = true, which tensorboardX does not know; TensorBoard puts these first."""
CURVES = "board"
"""Folder of a campaign's curves."""
TOLD = ("lost", "stuck", "preempted", "resized", "rewound", "failed")
"""What a person who looks at the curves wants to know of."""


def evaluated(
    run: Run, scalars: Mapping[str, float], images: Mapping[str, UInt8[np.ndarray, "height width 3"]]
) -> None:
    """Add metrics and pictures of a run. Raises FileError."""
    summaries = [scalar(tag, value) for tag, value in scalars.items()]
    summaries += [image(tag, picture, dataformats="HWC") for tag, picture in images.items()]
    _write(run.directory / EVALUATED, _now(), summaries)


def judged(directory: Path, works: Mapping[str, tuple[int, Mapping[str, float]]]) -> None:
    """Write what is known of the works of a campaign after so many steps, by their names."""
    for name, (step, scalars) in works.items():
        _write(
            directory / CURVES / name, _now(), [scalar(tag, value) for tag, value in scalars.items()], step
        )


def begun(run: Run) -> None:
    """Write the settings of a run whose training begins, or goes on; a disk that takes none is no matter."""
    _, settings, _ = hparams(hyperparameters(run.config), {})
    with suppress(FileError):  # One name, the first of the folder: what TensorBoard reads first counts.
        _write(run.directory, "0.settings", [_experiment(), settings])


def trained(run: Run) -> None:
    """Say that a run is trained to its end; a disk that does not take it is no matter."""
    *_, end = hparams({}, {})
    with suppress(FileError):
        _write(run.directory, _now(), [end])


def happened(run: Run, event: events.Event) -> None:
    """Tell in words what happened to a group; a disk that takes none is no matter.

    Numbered in place of steps: a group may be lost again at an earlier one, and TensorBoard would forget what
    it was told of later ones.
    """
    if event.kind not in TOLD:
        return
    when = f" after step {event.values['step']}" if "step" in event.values else ""
    first, _, rest = event.text.partition("\n")
    words = f"**{event.kind}**{when}: {first}" + (f"\n```\n{rest}\n```" if rest else "")
    with suppress(FileError, OSError):
        number = sum(other["event"] in TOLD for other in events.read(run.directory))
        _write(run.directory, _now(), [text(event.expert, words)], number)


def hyperparameters(config: Config) -> dict[str, str | float | int]:
    """The settings that people vary, by their names."""
    names = [f"experts.{i}.{name}" for i in range(len(config.experts)) for name in OF_EXPERTS]
    plain = to_dict(config)
    return {name: _value(plain, name) for name in (*FIRST, *FURTHER, *names)}


def _value(group: Any, name: str) -> str | float | int:
    for part in name.split("."):
        group = group[int(part) if part.isdigit() else part]
    return ",".join(f"{number:g}" for number in group) if isinstance(group, list) else group


def _experiment() -> Summary:
    """The columns of HParams: the same in every run, as those of any one of them are shown for all."""
    widest = PRESETS["mueller-brown"]("both", "fokker")
    settings = [_column(name, value) for name, value in hyperparameters(widest).items()]
    content = Experiment(hparam_infos=settings, metric_infos=_metrics(len(widest.experts)))
    data = HParamsPluginData(version=0, experiment=content).SerializeToString()
    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=data)
    metadata = SummaryMetadata(plugin_data=plugin)
    return Summary(value=[Summary.Value(tag="_hparams_/experiment", metadata=metadata)])


def _column(name: str, value: str | float | int) -> HParamInfo:
    kind = DataType.DATA_TYPE_STRING if isinstance(value, str) else DataType.DATA_TYPE_FLOAT64
    plain = HParamInfo(name=name, type=kind).SerializeToString()
    return HParamInfo.FromString(plain + (DIFFERS if name in FIRST else b""))


def _metrics(experts: int) -> Iterator[MetricInfo]:
    """What is shown beside the settings, by folder and tag; where a run has none, its place stays empty."""
    for metric in ("js", "pmf"):
        for kind in ("iid", "sim"):
            name = MetricName(group=EVALUATED, tag=f"{metric}_corrected/{kind}")
            yield MetricInfo(name=name, display_name=f"{metric.upper()} {kind}")
    for loss in ("denoising", "consistency"):
        for expert in range(experts):
            name = MetricName(group=f"experts/{expert}", tag=f"loss/{loss}")
            yield MetricInfo(name=name, display_name=f"{loss} {expert}")


def _now() -> str:
    """The end of a file's name, after those of all earlier ones of its folder."""
    return f"{time.time_ns() / 1e9:.6f}.{socket.gethostname()}.{os.getpid()}"


def _write(directory: Path, name: str, summaries: Iterable[Summary], step: int = 0) -> None:
    """Write a file of TensorBoard's events, whole or not at all. Raises FileError.

    By hand: the thread of tensorboardX's SummaryWriter ends where a disk is full, and then the writer waits
    for it for ever.
    """
    with replacing(directory / f"events.out.tfevents.{name}") as partial:
        file = RecordWriter(str(partial))
        try:
            for about in ({"file_version": "brain.Event:2"}, *({"summary": part} for part in summaries)):
                file.write(Event(wall_time=time.time(), step=step, **about).SerializeToString())
        finally:
            file.close()
