"""The paper's table of times: of runs that are finished, or as a plan foresees them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ..data import files
from ..distributed.cluster import storage
from ..distributed.cluster.devices import DEVICES, Device
from ..distributed.planning import calibration
from ..distributed.planning.plan import Cluster
from ..distributed.planning.prediction import Steps
from ..distributed.planning.sizes import Sizes, UnknownSizes, sizes
from ..distributed.runs.config import Config, load, to_dict
from ..distributed.runs.display import Display
from ..distributed.runs.presets import PRESETS
from ..distributed.runs.run import CONFIG, SAMPLES, Run, locked
from ..model.diffusion.samplers import evaluated_by
from ..model.experts import Expert
from . import backend
from .cli.plan import HERE
from .cli.times import TABLE, TimesArguments
from .plan import planned

CELLS = "planned"
"""Folder of the plans that were made, which an interrupted table does not make again."""
TRAIN, INFERENCE = "train", "inference"
MINUTE = 60.0

# Plainer et al. 2025, in seconds: diffusion, mixture, Fokker-Planck, both.
PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    preset: {
        task: dict(
            zip(("diffusion", "mixture", "fokker-planck", "both"), (m * MINUTE for m in row), strict=True)
        )
        for task, row in ((TRAIN, train), (INFERENCE, inference))
    }
    for preset, train, inference in (
        ("alanine-dipeptide", (49, 50, 279, 239), (3, 4, 3, 4)),
        ("dipeptides", (245, 230, 1719, 1625), (8, 4, 8, 4)),
    )
}


@dataclass(frozen=True)
class Time:
    """One cell."""

    seconds: float
    how: Literal["measured", "planned"]
    device: str
    """On which it was measured, or for which it was planned."""


Rows = Mapping[str, Mapping[str, Mapping[str, Time]]]
"""By preset, task and method."""


def reproduce(arguments: TimesArguments, display: Display) -> None:
    """Find what was measured, plan the rest, and write and print the table.

    An interrupted table goes on where it stopped.
    """
    root = arguments.directory
    storage.require_no_objects(root)
    backend.on_cpu()
    device = cache(
        lambda: calibration.this_machine() if arguments.device == HERE else DEVICES[arguments.device]
    )
    rows: dict[str, dict[str, dict[str, Time]]] = {}
    with locked(root):
        for preset in arguments.presets:
            rows[preset] = {TRAIN: {}, INFERENCE: {}}
            for method in arguments.methods:
                config = PRESETS[preset](method, arguments.recipe)
                found = measured(root, config)
                if len(found) < 2:
                    found = _planned(arguments, config, device, display) | found
                for task, time in found.items():
                    rows[preset][task][method] = time
                    display.stage(
                        task, f"{preset}, {method}: {words(time.seconds)} {time.how} ({time.device})"
                    )
        published = {preset: PUBLISHED[preset] for preset in rows if preset in PUBLISHED}
        cells = {
            p: {t: {m: asdict(c) for m, c in of.items()} for t, of in r.items()} for p, r in rows.items()
        }
        result = {"recipe": arguments.recipe, "unit": "s", "published": published, "rows": cells}
        files.write_json(root / f"{TABLE}.json", result)
        text = markdown(rows, arguments.recipe)
        files.write(root / f"{TABLE}.md", text)
    display.console.print(text, markup=False, soft_wrap=True)
    display.stage(TABLE, f"{root / f'{TABLE}.md'}, {root / f'{TABLE}.json'}")


def measured(root: Path, config: Config) -> dict[str, Time]:
    """Times of a finished run of this experiment in the folder; of none, or one of another training, none.

    Samples are counted of all molecules together, as if they were of one.
    """
    for path in sorted(root.glob(f"*/{CONFIG}")):
        own = load(path)
        parts = ("preset", "method", "recipe", "experts", "network", "objective", "train")
        run = Run(own, path.parent)
        timings = run.timings()
        if any(getattr(own, part) != getattr(config, part) for part in parts) or not run.trained:
            continue
        device = f"{own.cluster.devices_per_host} {own.cluster.device} a host"
        found = {TRAIN: Time(timings[TRAIN], "measured", device)} if TRAIN in timings else {}
        results = run.samples.all()
        if SAMPLES in timings and len(results) == 1 and results[0].settings == own.sample:
            drawn = sum(work.chains for work in run.sampling(results[0]) + run.training_sampling(results[0]))
            seconds = timings[SAMPLES] * config.sample.samples / drawn
            found[INFERENCE] = Time(seconds, "measured", device)
        return found
    return {}


def _planned(arguments: TimesArguments, config: Config, device: Any, display: Display) -> dict[str, Time]:
    """The plan of an experiment, which is kept with all that it is for."""
    root = arguments.directory
    try:
        data = sizes(config, root)
    except UnknownSizes:
        data = sizes(config, root, arguments.frames, arguments.beads)
    asked = {
        "config": to_dict(config),
        "device": arguments.device,
        "frames": data.frames,
        "shape": list(data.shape),
    }
    path = root / CELLS / f"{config.preset}-{config.method}.json"
    kept = files.read_json(path) if path.exists() else {}
    if kept.get("asked") != asked:
        display.stage("plan", f"{config.preset}, {config.method}: {data.frames} frames of {data.shape}")
        own = device()
        seconds = {
            TRAIN: planned(config, data, Cluster(1, 1, own)).together,
            INFERENCE: sampling_seconds(config, data, own),
        }
        kept = {"asked": asked, "device": asdict(own), "seconds": seconds}
        files.write_json(path, kept)
    return {task: Time(seconds, "planned", arguments.device) for task, seconds in kept["seconds"].items()}


def sampling_seconds(config: Config, data: Sizes, device: Device) -> float:
    """Of the independent samples of one molecule on one device, by the compiler's count of each score."""
    steps = Steps(config.network, config.objective, config.train, data.shape, data.molecules)
    often = evaluated_by([Expert(one, config.network, data.shape) for one in config.experts], config.sample)
    rows = config.sample.chunk
    each = sum(
        count * steps.evaluation(one, rows).seconds(device)
        for one, count in zip(config.experts, often, strict=True)
        if count
    )
    return each * config.sample.samples / rows


def words(seconds: float) -> str:
    """As the paper writes times: 49min, 4h 39min; below a minute 12s."""
    if seconds < MINUTE:
        return f"{seconds:.2g}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes = round(seconds / MINUTE)
    hours, rest = divmod(minutes, 60)
    return f"{hours}h {rest}min" if hours else f"{minutes}min"


def markdown(rows: Rows, recipe: str) -> str:
    """The published table beside this one, and what both count."""
    every = [time for tasks in rows.values() for cells in tasks.values() for time in cells.values()]
    devices = {
        how: ", ".join(sorted({t.device for t in every if t.how == how})) for how in ("measured", "planned")
    }
    methods = [*next(iter(next(iter(rows.values())).values()))]
    said = [
        f"Table 7, times of training and inference; this work: recipe {recipe}.",
        "Train: all experts of a model, at the same time as far as there is room. Inference: independent "
        "samples of one molecule by the reverse diffusion, as many as the preset draws; what the published "
        "times of inference are of, the paper does not say.",
    ]
    if devices["measured"]:
        said.append(
            f"Measured: wall time of the stages of a finished run, start included ({devices['measured']})."
        )
    if devices["planned"]:
        here = " (a thread of this machine)" if devices["planned"] == HERE else ""
        said.append(
            f"Planned, as `fokker plan` does, without training: one device, {devices['planned']}{here}."
        )
    said.append(
        "Published: one A100 80 GB for alanine dipeptide, two for dipeptides; experts one after another."
    )
    lines = [
        *said,
        "",
        f"| system | task | | {' | '.join(methods)} |",
        f"| --- | --- | --- |{' --- |' * len(methods)}",
    ]
    for preset, tasks in rows.items():
        for task, cells in tasks.items():
            ours = " | ".join(f"{words(cells[method].seconds)} {cells[method].how}" for method in methods)
            lines.append(f"| {preset if task == TRAIN else ''} | {task} | this work | {ours} |")
            if preset in PUBLISHED:
                published = PUBLISHED[preset][task]
                theirs = " | ".join(words(published[m]) if m in published else "–" for m in methods)
                lines.append(f"| | | published | {theirs} |")
    return "\n".join(lines).replace("|  |", "| |") + "\n"
