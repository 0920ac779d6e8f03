"""The paper's tables: every method with several seeds, beside the numbers that were published."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import ray

from ..analysis import results
from ..analysis.evaluation import compared
from ..analysis.reduction import held
from ..analysis.report import figures
from ..analysis.results import COLUMNS, DEFINITIONS, Comparison, Definition, Metrics, RunResult
from ..data import files
from ..data.config import MuellerBrownConfig
from ..data.dataset.shards import Dataset
from ..data.reference import mueller_brown
from ..distributed import tasks
from ..distributed.cluster import joining, storage
from ..distributed.runs import checks, evaluate, settling, stages
from ..distributed.runs.chosen import Chosen
from ..distributed.runs.config import Config, Method
from ..distributed.runs.display import Display
from ..distributed.runs.run import METRICS, Run, locked
from .cli.reproduce import Table

REFERENCE_SEED = 1000
"""First seed of the reference sets, away from those of the training data."""

Cell = tuple[float, float | None]
"""Mean and standard deviation; one value has none."""

# Plainer et al. 2025: iid JS, sim JS, iid PMF, sim PMF. What a table lacks has no published row.
PUBLISHED: dict[str, dict[str, tuple[Cell | None, ...]]] = {
    "table1": {
        "diffusion": ((0.0081, 0.0003), (0.0695, 0.0517), (0.095, 0.003), (1.047, 0.924)),
        "two-for-one": ((0.0081, 0.0003), (0.0158, 0.0002), (0.098, 0.006), (0.206, 0.004)),
        "mixture": ((0.0080, 0.0004), (0.0353, 0.0117), (0.092, 0.007), (0.388, 0.109)),
        "fokker-planck": ((0.0084, 0.0002), (0.0088, 0.0006), (0.098, 0.006), (0.105, 0.011)),
        "both": ((0.0079, 0.0002), (0.0086, 0.0004), (0.089, 0.005), (0.099, 0.003)),
    },
    "table2": {
        "transferable BG": ((0.0183, 0.0070), None, (0.230, 0.119), None),
        "diffusion": ((0.0155, 0.0083), (0.2256, 0.1304), (0.206, 0.159), (6.515, 3.175)),
        "two-for-one": ((0.0153, 0.0080), (0.0466, 0.0114), (0.203, 0.149), (0.741, 0.319)),
        "mixture": ((0.0155, 0.0078), (0.0444, 0.0237), (0.200, 0.127), (0.658, 0.407)),
        "fokker-planck": ((0.0154, 0.0060), (0.0200, 0.0106), (0.192, 0.118), (0.290, 0.222)),
        "both": ((0.0158, 0.0077), (0.0158, 0.0052), (0.197, 0.124), (0.183, 0.070)),
    },
    "table6": {
        "reference": ((0.0119, 0.0004), (0.0119, 0.0004), (0.087, 0.002), (0.087, 0.002)),
        "diffusion": ((0.0122, 0.0013), (0.0448, 0.0125), (0.111, 0.006), (0.504, 0.150)),
        "mixture": ((0.0109, 0.0007), (0.0254, 0.0109), (0.097, 0.004), (0.247, 0.113)),
        "fokker-planck": ((0.0130, 0.0010), (0.0166, 0.0009), (0.122, 0.006), (0.163, 0.008)),
        "both": ((0.0110, 0.0007), (0.0108, 0.0008), (0.098, 0.003), (0.099, 0.004)),
    },
}
SPREADS = {
    "table1": "published: three seeds",
    "table2": "published: over 15 test peptides; transferable BG is quoted there",
    "table6": "published: ten seeds",
}


def reproduce(arguments: Table, display: Display) -> None:
    """Train, sample and simulate every method and seed, all at once as far as there is room; print the table.

    An interrupted table goes on where it stopped.
    """
    root = arguments.directory
    settled: dict[Method, tuple[Config, list[str]]] = {
        method: settling.settled(config, root / "data", arguments.given)
        for method, config in arguments.configs.items()
    }
    runs: dict[Method, list[Run]] = {
        method: [
            Run(
                replace(config, seed=seed),
                root / method / f"seed-{seed}",
                shared_data=root / "data",
                label=f"{method} {seed}",
            )
            for seed in range(arguments.seeds)
        ]
        for method, (config, _) in settled.items()
    }
    every = [run for of_method in runs.values() for run in of_method]
    for run in every:
        run.changes()  # Refuses before anything is created.
    checks.require_judgeable(every[0])
    storage.require_no_objects(root)
    for note in {note for _, notes in settled.values() for note in notes}:
        display.stage("note", note)
    with ExitStack() as locks:
        for directory in (root, *(run.directory for run in every)):
            locks.enter_context(locked(directory))
        for run in every:
            for note in run.claim():
                display.stage("note", f"{run.label}: {note}")
        with joining.leaving():
            for note in checks.require_storage(root, every[0].config.cluster):
                display.stage("note", note)
            for stage in ("data", "train", "sample", "simulate", "evaluate"):
                stages.STAGES[stage](every, display)
            references = _references(root, every, arguments.seeds, display)
        _write(root, arguments.table, runs, references, display)


def _write(
    root: Path, table: str, runs: Mapping[Method, Sequence[Run]], references: list[Metrics], display: Display
) -> None:
    """Write the table and its figure, and print the table."""
    rows = {"reference": _cells(references)}
    for method, of_method in runs.items():
        rows[method] = _cells([_result(run) for run in of_method])
    seeds = len(next(iter(runs.values())))
    result = {
        "seeds": seeds,
        "columns": [" ".join(c) for c in COLUMNS],
        "published": PUBLISHED[table],
        "rows": rows,
    }
    files.write_json(root / f"{table}.json", result)
    start = _result(next(iter(runs.values()))[0]).simulate.start
    text = markdown(rows, seeds, table, start)
    files.write(root / f"{table}.md", text)
    # Of several peptides, the first one.
    first = {
        method: next(iter(evaluate.drawn(evaluate.sets_of(Chosen.of(of_method[0], "reproduce"))).values()))
        for method, of_method in runs.items()
    }
    _, picture = next(iter(figures.free_energies(first).values()))
    files.write(root / "free-energy.png", figures.to_png(picture))
    display.console.print(text, markup=False, soft_wrap=True)
    display.stage(table, f"{root / f'{table}.md'}, {root / f'{table}.json'}, {root / 'free-energy.png'}")


def _result(run: Run) -> RunResult:
    return results.read(run.directory / METRICS)


def _references(root: Path, runs: Sequence[Run], seeds: int, display: Display) -> list[Metrics]:
    """Metrics of what is as good as it can be.

    Of Müller-Brown, independent trajectories in the true potential against the training data; of molecules
    the floors of the runs, as nothing else is known of them.
    """
    data = runs[0].config.data
    if not isinstance(data, MuellerBrownConfig):
        found = [_result(run) for run in runs[:seeds]]
        return [_alike(Comparison(m.paper["floor"], m.corrected["floor"])) for m in found]
    system, found = runs[0].systems[0], []
    reference = held(system, Dataset(runs[0].data).split("train").read())
    for seed in range(REFERENCE_SEED, REFERENCE_SEED + seeds):
        path = root / "reference" / f"seed-{seed}.json"
        if not path.exists():
            joining.connect(runs[0].config.cluster)
            points: Any = ray.get(tasks.submit(mueller_brown.generate, data, seed))
            (one,) = compared(reference, held(system, points))
            files.write_json(path, one.numbers.tolist())
            display.stage("reference", f"seed {seed}")
        found.append(_alike(Comparison.of(np.array(files.read_json(path)))))
    return found


def _alike(one: Comparison) -> Metrics:
    """The same metrics for samples and for a simulation."""
    return Metrics.of({"iid": one, "sim": one})


def _cells(every: Sequence[Metrics]) -> dict[str, list[Cell]]:
    """Mean and standard deviation of each column, in both definitions: over seeds, or else over peptides."""
    means = Metrics.mean(every)
    spread = Metrics.deviation(every) if len(every) > 1 else getattr(every[0], "sd", None)

    def number(of: Metrics, definition: Definition, kind: str, metric: str) -> float:
        return getattr(getattr(of, definition)[kind], metric)

    return {
        definition: [
            (number(means, definition, *column), spread and number(spread, definition, *column))
            for column in COLUMNS
        ]
        for definition in DEFINITIONS
    }


def markdown(
    rows: Mapping[str, Mapping[str, Sequence[Cell]]], seeds: int, table: str, start: str = ""
) -> str:
    """The published table beside this one, and the corrected JS; chains `start` at what it says."""
    count = f"{seeds} seeds" if seeds > 1 else "one seed" + (", ± over peptides" if table == "table2" else "")
    lines = [
        f"Table {table.removeprefix('table')}, mean ± standard deviation; this work: {count}, "
        f"{SPREADS[table]}.",
        "JS as in the authors' code; JS corrected on fixed bins."
        + (f" Chains of simulations start at {start}." if start else ""),
        "",
        "| method | | iid JS | sim JS | iid PMF | sim PMF | iid JS corrected | sim JS corrected |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    published = PUBLISHED[table]
    quoted = [name for name in published if name not in ("reference", *get_args(Method))]
    for method in (*rows, *quoted):
        named = method
        if method in rows:
            ours = [*rows[method]["paper"], *rows[method]["corrected"][:2]]
            lines.append(f"| {method} | this work | " + " | ".join(map(_text, ours)) + " |")
            named = ""
        if method in published:
            values = " | ".join(map(_text, published[method]))
            lines.append(f"| {named} | published | {values} | | |".replace("|  |", "| |"))
    return "\n".join(lines) + "\n"


def _text(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    mean, deviation = cell
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"
