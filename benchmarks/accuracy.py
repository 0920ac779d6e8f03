"""Alanine dipeptide on two cores by every method: accuracy of samples and simulations, and the time it took.

Whole runs of alanine-dipeptide-small, one after another, so that each has the machine for itself: `both` with
several seeds, the other methods once. two-for-one is the network of diffusion at t = 0.02: it is simulated in
that run, not trained again. --curve adds runs of `both` with parts of the epochs, for the accuracy against
the core minutes. Ctrl-C ends cleanly, and the same command goes on. Needs the trajectory or a converted
dataset, as --data PATH. The last line is JSON.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fokker.analysis import results
from fokker.data import files

PROFILE = ("barrier", "difference")
PRESET = "alanine-dipeptide-small"
METHODS = ("score", "diffusion", "two-for-one", "mixture", "fokker-planck")
"""Beside `both`, in the order of the paper's tables; two-for-one comes after what it is made of."""
TWO_FOR_ONE = ("--simulate.force-time", "0.02")
STAGES = ("train", "sample", "simulate", "evaluate")
COLUMNS = (
    *("iid JS", "sim JS", "iid PMF", "sim PMF", "iid p(φ>0)", "sim p(φ>0)"),
    *("barrier near 0", "F(φ>0) − F(φ<0)", "bond spreads", "minutes"),
)
"""Free energies in kT, by umbrella windows on the learned energy; spreads over the reference's."""


def main() -> None:
    """Run what is not there yet, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="trajectory or dataset")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs/accuracy"), help="default runs/accuracy")
    parser.add_argument("--seeds", type=int, default=3, help="of `both` (default 3)")
    parser.add_argument(
        "--methods", default=",".join(METHODS), help="others, once each; none: '' (default all)"
    )
    parser.add_argument("--curve", default="", help="parts of the epochs, such as 0.125,0.25,0.5")
    parser.add_argument("options", nargs="*", help="after --: handed to every fokker run")
    arguments = parser.parse_args()
    methods = [method for method in arguments.methods.split(",") if method]
    if unknown := {*methods} - {*METHODS}:
        sys.exit(f"--methods: unknown {', '.join(sorted(unknown))}: choose from {', '.join(METHODS)}")
    table = Table(arguments.runs_dir, [*arguments.options, "--data", str(arguments.data)])
    rows = {f"both, {arguments.seeds} seeds": [table.run("both", seed) for seed in range(arguments.seeds)]}
    for method in methods:
        if method == "two-for-one":
            table.run("diffusion", 0)
            rows[method] = [table.simulated_again("diffusion-0")]
        else:
            rows[method] = [table.run(method, 0)]
    rows |= {
        f"both, {float(part):g} of the epochs": [table.run("both", 0, float(part))]
        for part in arguments.curve.split(",")
        if part
    }
    first = next(iter(rows.values()))[0]
    print("|", " | ".join(["method", *COLUMNS]), "|")
    print("|", " | ".join(["---"] * (1 + len(COLUMNS))), "|")
    print("| floor, or reference |", " | ".join(reference(first)), "|")
    for name, every in rows.items():
        print("|", name, "|", " | ".join(map(shown, zip(*map(cells, every), strict=True))), "|")
    print(json.dumps({"benchmark": "accuracy", "commit": commit(), "rows": rows}))


class Table:
    """The runs, in one folder."""

    def __init__(self, folder: Path, options: Sequence[str]):
        self.folder, self.options = folder, options

    def run(self, method: str, seed: int, part: float = 1.0) -> dict[str, Any]:
        """The results of a whole run, of a part of the epochs."""
        name = f"{method}-{seed}" + (f"-{part:g}" if part != 1 else "")
        if not self.found(name, "1-1"):
            epochs = [
                text
                for number, count in enumerate(self.epochs(method) if part != 1 else ())
                for text in (f"--experts.{number}.epochs", str(max(1, round(part * count))))
            ]
            named = ["run", PRESET, "--method", method, "--name", name, "--seed", str(seed)]
            self.fokker(*named, *self.options, *epochs)
        return self.result(name, "1-1")

    def simulated_again(self, name: str) -> dict[str, Any]:
        """The results of a run whose forces are read at the time of two-for-one."""
        if not self.found(name, "1-2"):
            self.fokker("simulate", "--name", name, *TWO_FOR_ONE)
            self.fokker("evaluate", "--name", name)
        return self.result(name, "1-2")

    def epochs(self, method: str) -> list[int]:
        """Of every expert, as the whole run has them."""
        config = files.read_json(self.folder / f"{method}-0" / "config.json")
        return [expert["epochs"] for expert in config["experts"]]

    def found(self, name: str, numbers: str) -> results.RunResult | None:
        """Metrics of the samples and the simulation of these numbers; None where there are none."""
        for path in (self.folder / name / "metrics.json", self.folder / name / f"metrics-{numbers}.json"):
            if path.exists():
                found = results.read(path)
                assert found.made_from
                if f"{found.made_from.sample.result}-{found.made_from.simulate.result}" == numbers:
                    return found
        return None

    def result(self, name: str, numbers: str) -> dict[str, Any]:
        """What the table shows of a run, as plain values."""
        found = self.found(name, numbers)
        assert found, f"{name}: fokker ended well and left no metrics"
        (system,) = found.systems.values()
        molecule = system.molecule
        assert molecule
        assert molecule.torsions
        assert molecule.profiles
        profiles, seconds = molecule.profiles.sets, files.read_json(self.folder / name / "timings.json")
        umbrella = profiles.get("umbrella")
        return {
            "scores": {kind: vars(system.corrected[kind]) for kind in ("iid", "sim", "floor")},
            "phi_positive": molecule.torsions.phi_positive,
            "reference": {key: str(getattr(profiles["reference"], key)) for key in PROFILE},
            "learned": {key: getattr(umbrella, key).value for key in PROFILE} if umbrella else {},
            "bonds": [
                bond.spread["sim"][1] / bond.spread["reference"][1] for bond in molecule.bonds.values()
            ],
            "minutes": {stage: seconds[stage] / 60 for stage in STAGES if stage in seconds},
        }

    def fokker(self, *words: str) -> None:
        """One command, whose output is seen; ends with its status where it fails."""
        command = [str(Path(sys.executable).with_name("fokker")), *words, "--runs-dir", str(self.folder)]
        print("$ fokker", *words, flush=True)
        process = subprocess.Popen(command)
        while process.returncode is None:
            try:
                process.wait()
            except KeyboardInterrupt:  # The command has it too, saves and ends by itself.
                continue
        if process.returncode:
            sys.exit(process.returncode)


def cells(result: dict[str, Any]) -> tuple[list[float], ...]:
    """The numbers of each column; none where they are not known."""
    scores, phi, learned = result["scores"], result["phi_positive"], result["learned"]
    return (
        *([scores[kind][metric]] for metric in ("js", "pmf") for kind in ("iid", "sim")),
        [phi["iid"]],
        [phi["sim"]],
        *([learned[key]] if key in learned else [] for key in PROFILE),
        [min(result["bonds"]), max(result["bonds"])],
        [sum(result["minutes"].values())],
    )


def reference(result: dict[str, Any]) -> list[str]:
    """The row of what is to be met; the barriers of a reference are known by biased frames alone."""
    floor, phi = result["scores"]["floor"], f"{result['phi_positive']['reference']:.4f}"
    scores = [f"{floor[metric]:.4f}" for metric in ("js", "js", "pmf", "pmf")]
    return [*scores, phi, phi, *result["reference"].values(), "1", ""]


def shown(column: Sequence[list[float]]) -> str:
    """Mean ± standard deviation over seeds; a range where there are two numbers."""
    if not all(column):
        return ""
    if len(column[0]) == 2:
        return f"{min(low for low, _ in column):.2f}–{max(high for _, high in column):.2f}"
    values = [value for (value,) in column]
    digits = 1 if values[0] > 2 else 4
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def commit() -> str:
    """Of the checkout, with + where it has changed; empty outside of one."""
    described = ["git", "describe", "--always", "--dirty=+"]
    done = subprocess.run(described, cwd=Path(__file__).parent, capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
