"""What the report of a run is made of."""

import math
import re
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from ..analysis import figures
from ..analysis.metrics import COLUMNS, TABLE_HEADER, Points, reported, table
from ..analysis.report import MADE_FROM, Report, Table, render
from ..data import files
from ..distributed import parameters as trained
from ..distributed.history import HISTORY, read_history
from ..model.config import SimulateConfig
from .config import from_dict, to_dict
from .display import clock
from .run import Run

REPORT, FIGURES = "report.html", "figures"
LONG_STEP = 1.0
"""Largest ω dt that is not warned of."""
FORCED = ", the first at one of φ > 0, as in the paper"
PACKAGES = ("fokker", "jax", "flax", "optax", "orbax-checkpoint", "grain", "ray", "numpy")


def made_from(path: Path) -> str | None:
    """Hash of the metrics that a report was made from; None if there is no report, or half of one."""
    if not path.exists():
        return None
    found = re.search(rf'<meta name="{MADE_FROM}" content="(\w+)">', path.read_text("utf-8", "replace"))
    return found[1] if found else None


def write(run: Run, metrics: dict, digest: str, surfaces: dict[str, dict[str, Points]]) -> None:
    """Write runs/NAME/figures/*.png and report.html, with the hash of its metrics. Raises FileError."""
    # One that is empty or gone cannot be made again; the rest of the report can.
    paths = {job.name: job.directory / HISTORY for job in run.jobs}
    found = {name: read_history(path) for name, path in paths.items() if path.exists()}
    history = {name: losses for name, losses in found.items() if losses}
    drawn = {
        "free-energy": (
            "Free energy of the training data, of independent samples and of the simulation.",
            figures.free_energy_surfaces(surfaces, run.systems[0].plane),
        ),
    }
    if history:
        drawn["losses"] = (
            "Losses of the experts; each is named by its interval of t.",
            figures.loss_curves(history),
        )
    plane = run.systems[0].plane
    if run.systems[0].beads is not None:
        drawn["torsions"] = (
            "Free energy along each torsion.",
            figures.torsion_profiles(surfaces, plane.labels),
        )
    # null stands for what is not finite.
    curves = {
        name: (times, [math.nan if error is None else error for error in errors])
        for name, (times, errors) in metrics["fokker_planck_error"].items()
    }
    if curves:
        drawn["fokker-planck-error"] = (
            "How far each expert is from solving the Fokker-Planck equation, at noised training frames.",
            figures.fokker_planck_curves(curves),
        )
    images = {name: (caption, figures.to_png(figure)) for name, (caption, figure) in drawn.items()}
    for name, (_, png) in images.items():
        files.write(run.directory / FIGURES / f"{name}.png", png)
    report = _report(run, metrics, digest, history, list(images.values()))
    files.write(run.directory / REPORT, render(report))


def _report(run: Run, metrics: dict, digest: str, history: dict, images: list[tuple[str, bytes]]) -> Report:
    config, timings = run.config, run.timings()
    simulated = from_dict(metrics["made_from"]["simulate"]["settings"], SimulateConfig)
    return Report(
        title=f"{config.preset}: {config.method}",
        subtitle=f"{config.recipe} recipe, seed {config.seed}, data {metrics['data_fingerprint'][:12]}, "
        f"samples {metrics['made_from']['sample']['result']}, "
        f"simulation {metrics['made_from']['simulate']['result']}",
        made_from=digest,
        metrics=reported(metrics),
        warnings=warnings(metrics),
        figures=images,
        tables=[
            ("Results", ("what", "number", "settings"), _result_rows(metrics["made_from"])),
            ("Experts", EXPERT_COLUMNS, [_expert_row(job, history.get(job.name)) for job in run.jobs]),
            ("Timings", ("stage", "time"), [(stage, clock(seconds)) for stage, seconds in timings.items()]),
            ("Simulation", ("quantity", "value"), _simulation_rows(metrics["simulate"], simulated)),
            *_molecule_tables(metrics["systems"]),
            (
                "Versions",
                ("package", "version"),
                [("python", python_version()), *((name, version(name)) for name in PACKAGES)],
            ),
            ("Data", ("quantity", "value"), [("SHA-256 fingerprint", metrics["data_fingerprint"])]),
        ],
        config=to_dict(config),
    )


EXPERT_COLUMNS = (
    "interval of t",
    "parameters",
    "steps",
    "trained in",
    "denoising loss",
    "consistency term",
)


def _expert_row(job, history: dict[str, list[float]] | None) -> tuple[str, ...]:
    count = trained.count(trained.load(job.directory))
    if history is None:
        return job.name, f"{count:,}", *["unknown"] * 4
    term = history["consistency"][-1]
    return (
        job.name,
        f"{count:,}",
        f"{history['step'][-1]:,.0f}",
        clock(history["seconds"][-1]),
        f"{history['denoising'][-1]:.4f}",
        f"{term:.4g}" if term else "not used",
    )


def _result_rows(made_from: dict) -> list[tuple[str, ...]]:
    """Which samples and which simulation, and the settings that made them."""
    return [
        (
            noun,
            str(made_from[kind]["result"]),
            ", ".join(f"{name} {value}" for name, value in made_from[kind]["settings"].items()),
        )
        for kind, noun in (("sample", "samples"), ("simulate", "simulation"))
    ]


def _simulation_rows(counts: dict, settings: SimulateConfig) -> list[tuple[str, str]]:
    half, step, rms, largest = (
        "not known" if counts.get(name) is None else f"{counts[name]:.{digits}f}"
        for name, digits in (
            ("kinetic_temperature", 3),
            ("step_temperature", 3),
            ("rms_omega_dt", 2),
            ("largest_omega_dt", 2),
        )
    )
    return [
        ("chains", str(counts["chains"])),
        ("frames kept", f"{counts['frames']:,}"),
        ("chains that left the physical range", str(counts["chains_left_range"])),
        ("chains that became non-finite", str(counts["chains_not_finite"])),
        ("kinetic temperature, of half-step velocities", f"{half} (bath: {counts['temperature']:g})"),
        ("kinetic temperature at the steps, colder by (ω dt)²/4", step),
        ("ω dt by these temperatures, root mean square", rms),
        ("largest ω dt, by the mass-weighted Hessian at frames of the data", f"{largest} (stable below 2)"),
        ("chains start at", "training frames" + (FORCED if settings.first_phi_positive else "")),
    ]


def _molecule_tables(systems: dict[str, dict]) -> list[Table]:
    """Metrics of each peptide and of each residue where there are several, then modes and bonds of each."""
    tables: list[Table] = []
    if len(systems) > 1:
        rows = [(name, *row) for name, result in systems.items() for row in table(reported(result))]
        tables.append(("Systems", ("system", *TABLE_HEADER), rows))
    for name, result in systems.items():
        rows = [
            (residue, *(f"{part['corrected'][kind][metric]:.4f}" for kind, metric in COLUMNS))
            for residue, part in result.get("residues", {}).items()
        ]
        if rows:
            header = ("residue", *(f"{metric.upper()} {kind}" for kind, metric in COLUMNS))
            tables.append((f"{name} by residue (JS corrected)", header, rows))
    molecules = {name: result["molecule"] for name, result in systems.items() if "molecule" in result}
    for name, molecule in molecules.items():
        positive = molecule["phi_positive"]
        bonds = [
            (
                label,
                *(f"{1000 * bond[kind][0]:.1f} ± {1000 * bond[kind][1]:.1f}" for kind in positive),
                *(f"{1000 * bond[f'w1_{kind}']:.1f}" for kind in ("iid", "sim")),
            )
            for label, bond in (molecule["bonds"] | molecule["ca_distances"]).items()
        ]
        modes = ("p(φ > 0)", *(f"{value:.4f}" for value in positive.values()), "", "")
        crossings = ("φ crossings", "", "", str(molecule["phi_crossings"]), "", "")
        mirrored = molecule.get("mirror_images")  # Of beads that have a hand.
        hands = []
        if mirrored:
            shares = (f"{mirrored[kind]['share']:.4f}" for kind in positive)
            hands.append(("mirror images at CA", *shares, "", ""))
        header = ("bond or Cα distance, length ± spread (pm)", "reference", "iid", "sim", "W1 iid", "W1 sim")
        tables.append((name, header, [modes, crossings, *hands, *bonds]))
    return tables


def warnings(metrics: dict) -> list[str]:
    """What went wrong in samples or simulation, in words."""
    texts = []
    for part, noun in (("sample", "samples"), ("simulate", "chains of the simulation")):
        counts = metrics[part]
        if counts["chains_left_range"]:
            texts.append(
                f"{counts['chains_left_range']} of {counts['chains']} {noun} left the physical range."
            )
        if counts["frames_not_finite"]:
            texts.append(
                f"{counts['frames_not_finite']} of {counts['frames']} frames of the {noun} are not finite "
                "and were left out of the metrics."
            )
    largest = metrics["simulate"].get("largest_omega_dt")
    if largest is not None and largest > LONG_STEP:
        texts.append(
            f"The time step is long: ω dt is {largest:.2f} for the fastest mode, where 2 is the limit of "
            "stability; a smaller simulate.timestep is safer."
        )
    return texts
