"""The paper's tables: every method with several seeds, beside the numbers that were published."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray

from ..analysis import figures
from ..analysis.metrics import DEFINITIONS, compare
from ..data.shards import Dataset
from ..distributed import cluster, tasks
from . import stages
from .arguments import ReproduceArguments
from .config import Method
from .display import Display
from .run import Run, locked, write_json

COLUMNS = (("iid", "js"), ("sim", "js"), ("iid", "pmf"), ("sim", "pmf"))
REFERENCE_SEED = 1000
"""First seed of the reference sets, away from those of the training data."""

Cell = tuple[float, float | None]
"""Mean and standard deviation; one value has none."""

# Plainer et al. 2025, Table 6; two-for-one and the score ablation have no row there.
PUBLISHED: dict[str, tuple[Cell, ...]] = {
    "reference": ((0.0119, 0.0004), (0.0119, 0.0004), (0.087, 0.002), (0.087, 0.002)),
    "diffusion": ((0.0122, 0.0013), (0.0448, 0.0125), (0.111, 0.006), (0.504, 0.150)),
    "mixture": ((0.0109, 0.0007), (0.0254, 0.0109), (0.097, 0.004), (0.247, 0.113)),
    "fokker-planck": ((0.0130, 0.0010), (0.0166, 0.0009), (0.122, 0.006), (0.163, 0.008)),
    "both": ((0.0110, 0.0007), (0.0108, 0.0008), (0.098, 0.003), (0.099, 0.004)),
}


def reproduce(arguments: ReproduceArguments, display: Display) -> None:
    """Train, sample and simulate every method and seed, all at once as far as there is room; print the table.

    An interrupted table goes on where it stopped.
    """
    root = arguments.directory
    runs: dict[Method, list[Run]] = {
        method: [_run(root, method, replace(config, seed=seed)) for seed in range(arguments.seeds)]
        for method, config in arguments.configs.items()
    }
    every = [run for of_method in runs.values() for run in of_method]
    for run in every:
        run.changes()  # Refuses before anything is created or dropped.
    with ExitStack() as locks:
        for directory in (root, *(run.directory for run in every)):
            locks.enter_context(locked(directory))
        for run in every:
            for note in run.claim():
                display.stage("note", f"{run.label}: {note}")
        try:
            for stage in ("data", "train", "sample", "simulate", "evaluate"):
                stages.STAGES[stage](every, display)
            references = _references(root, every[0], arguments.seeds, display)
        finally:
            cluster.leave()
        _write(root, runs, references, display)


def _write(
    root: Path, runs: Mapping[Method, Sequence[Run]], references: list[dict[str, Any]], display: Display
) -> None:
    """Write the table and its figure, and print the table."""
    rows = {"reference": _cells([{"iid": m, "sim": m} for m in references])}
    for method, of_method in runs.items():
        rows[method] = _cells([json.loads((run.directory / "metrics.json").read_text()) for run in of_method])
    result = {
        "seeds": len(references),
        "columns": [" ".join(c) for c in COLUMNS],
        "published": PUBLISHED,
        "rows": rows,
    }
    write_json(root / "table6.json", result)
    text = markdown(rows, len(references))
    (root / "table6.md").write_text(text)
    first = {method: stages.surfaces(of_method[0])[""] for method, of_method in runs.items()}
    picture = figures.free_energy_surfaces(first, next(iter(runs.values()))[0].systems[0].plane)
    (root / "free-energy.png").write_bytes(figures.to_png(picture))
    display.console.print(text, markup=False, soft_wrap=True)
    display.stage("table6", f"{root / 'table6.md'}, {root / 'table6.json'}, {root / 'free-energy.png'}")


def _run(root: Path, method: Method, config) -> Run:
    return Run(
        config,
        root / method / f"seed-{config.seed}",
        shared_data=root / "data",
        label=f"{method} {config.seed}",
    )


def _references(root: Path, run: Run, seeds: int, display: Display) -> list[dict[str, Any]]:
    """Metrics of independent trajectories in the true potential against the training data."""
    reference = Dataset(run.data).split("train").read()
    results = []
    for seed in range(REFERENCE_SEED, REFERENCE_SEED + seeds):
        path = root / "reference" / f"seed-{seed}.json"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            cluster.connect(run.config.cluster)
            points = ray.get(tasks.submit(tasks.mueller_brown_frames, run.config.data, seed))
            compared = compare(reference, points, run.systems[0].plane)
            write_json(path, compared)
            display.stage("reference", f"seed {seed}")
        results.append(json.loads(path.read_text()))
    return results


def _cells(metrics: Sequence[dict[str, Any]]) -> dict[str, list[Cell]]:
    """Mean and standard deviation of each column, in both definitions."""
    return {
        definition: [_mean([_value(m, definition, *column) for m in metrics]) for column in COLUMNS]
        for definition in DEFINITIONS
    }


def _value(metrics: dict[str, Any], definition: str, kind: str, metric: str) -> float:
    # Runs are filed by definition first, references by kind.
    values = metrics.get(definition)
    return values[kind][metric] if values else metrics[kind][definition][metric]


def _mean(values: Sequence[float]) -> Cell:
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def markdown(rows: Mapping[str, Mapping[str, Sequence[Cell]]], seeds: int) -> str:
    """The published table beside this one, and the corrected JS."""
    count = f"{seeds} seeds" if seeds > 1 else "one seed"
    lines = [
        f"Table 6, mean ± standard deviation; this work: {count}, published: ten.",
        "JS as in the authors' code; JS corrected on fixed bins.",
        "",
        "| method | | iid JS | sim JS | iid PMF | sim PMF | iid JS corrected | sim JS corrected |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method, cells in rows.items():
        ours = [*cells["paper"], *cells["corrected"][:2]]
        lines.append(f"| {method} | this work | " + " | ".join(map(_text, ours)) + " |")
        if method in PUBLISHED:
            lines.append("| | published | " + " | ".join(map(_text, PUBLISHED[method])) + " | | |")
    return "\n".join(lines) + "\n"


def _text(cell: Cell) -> str:
    mean, deviation = cell
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"
