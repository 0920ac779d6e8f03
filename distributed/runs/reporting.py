"""What the report of a run is made of."""

import re
from collections.abc import Mapping
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from platform import python_version

from ...analysis import transfer
from ...analysis.report import curves, figures
from ...analysis.report.figures import Sets
from ...analysis.report.page import MADE_FROM, Report, Table, render
from ...analysis.report.verdict import Setup, verdict
from ...analysis.results import (
    BARRIER_HEADER,
    COLUMNS,
    DEFINITIONS,
    TABLE_HEADER,
    RunResult,
    SimulationCounts,
    Structure,
    SystemResult,
)
from ...data import files
from ...model.config import SimulateConfig
from ..training import parameters as trained
from .config import from_dict, to_dict
from .display import clock
from .gallery import Gallery
from .run import Run

REPORT, FIGURES = "report.html", "figures"
LONG_STEP, LONG_STEP_OF_INNER = 1.0, 2.5
"""Largest ω dt that is not warned of, and that of steps which are made of inner ones."""
BARRIERS_CAPTION = (
    "Free energy along φ from the minimum of φ < 0; bands are one standard error. The umbrella is of windows "
    "on the learned energy; frames end where barriers are too high for any to be there"
)
BONDS_CAPTION = (
    "Lengths of bonds about the mean of the reference: marks are means, bars one standard deviation of frames"
)
CONVERGENCE_CAPTION = (
    "Distance of the simulation from the reference over simulated time, each point with all frames up to it; "
    "bands are one standard error over chains. A thin line is the floor that its chains end at: where the "
    "curve comes down to it nothing more is to be seen, and where it has become level above it, the model is "
    "wrong by that much."
)
FAILED = 20
"""Chains of a system that are listed one by one."""
FEW = 3
"""Systems whose floors are drawn."""
PACKAGES = ("fokker", "jax", "flax", "optax", "orbax-checkpoint", "grain", "ray", "numpy")


def made_from(path: Path) -> str | None:
    """Hash of the metrics that a report was made from; None if there is no report, or half of one."""
    if not path.exists():
        return None
    found = re.search(rf'<meta name="{MADE_FROM}" content="(\w+)">', path.read_text("utf-8", "replace"))
    return found[1] if found else None


def write(
    run: Run, result: RunResult, digest: str, sets: Mapping[str, Sets], gallery: Gallery | None = None
) -> None:
    """Write runs/NAME/figures/*.png and report.html, with the hash of its metrics. Raises FileError."""
    gallery = gallery or Gallery()
    # One that is empty or gone cannot be made again; the rest of the report can.
    history = {job.name: losses for job in run.jobs if (losses := job.losses)}
    drawn = figures.free_energies(sets) | _drawn(run, result, history, gallery)
    images = {name: (caption, figures.to_png(figure)) for name, (caption, figure) in drawn.items()}
    for name, (_, png) in images.items():
        files.write(run.directory / FIGURES / f"{name}.png", png)
    report = _report(run, result, digest, history, list(images.values()), gallery)
    files.write(run.directory / REPORT, render(report))


def _drawn(run: Run, result: RunResult, history: dict, gallery: Gallery) -> figures.Named:
    """Captions and figures of what is no plane."""
    found, one = figures.Named(), len(result.systems) == 1
    named = {"" if one else name: each for name, each in result.systems.items()}
    molecules = {name: each.molecule for name, each in named.items() if each.molecule}
    if along := {name: each.profiles for name, each in molecules.items() if each.profiles}:
        found |= figures.in_figures("barriers", BARRIERS_CAPTION, along, figures.free_energies_along_phi)
    if bonded := {name: each for name, each in molecules.items() if each.bonds}:
        found |= figures.in_figures("bonds", BONDS_CAPTION, bonded, figures.bond_lengths, figures.BONDED)
    if gallery.courses:
        courses = {"simulation" if one else name: course for name, course in gallery.courses.items()}
        own = {name: _floor(result.systems[name]) for name in gallery.courses}
        floors = dict(zip(courses, own.values(), strict=True)) if len(courses) <= FEW else None
        found["convergence"] = (
            CONVERGENCE_CAPTION,
            curves.convergence(courses, run.systems[0].time_unit, floors),
        )
    if history:
        about = "Losses of the experts; each is named by its interval of t."
        found["losses"] = about, curves.loss_curves(history)
    if result.fokker_planck_error:
        about = "How far each expert is from solving the Fokker-Planck equation, at noised training frames."
        found["fokker-planck-error"] = about, curves.fokker_planck_curves(result.fokker_planck_error)
    return found


def _floor(one: SystemResult) -> float:
    """Of the simulation, by its chains; of a single one as if its frames were independent."""
    own = one.corrected.get("floor_sim", one.corrected["floor"]).js
    return own if isfinite(own) else one.corrected["floor"].js


def _report(
    run: Run,
    result: RunResult,
    digest: str,
    history: dict,
    images: list[tuple[str, bytes]],
    gallery: Gallery,
) -> Report:
    config, made_from = run.config, result.made_from
    parts = (("samples", made_from.sample), ("simulation", made_from.simulate))
    simulated = from_dict(made_from.simulate.settings, SimulateConfig)
    return Report(
        title=f"{config.preset}: {config.method}",
        subtitle=f"{config.recipe} recipe, seed {config.seed}, data {result.data_fingerprint[:12]}, "
        f"samples {made_from.sample.result}, simulation {made_from.simulate.result}",
        made_from=digest,
        verdict=verdict(result, _setup(run, simulated)),
        views=gallery.views,
        metrics=result,
        warnings=warnings(result),
        figures=images,
        tables=[
            (
                "Results",
                ("what", "number", "settings"),
                [
                    (
                        noun,
                        str(part.result),
                        ", ".join(f"{name} {value}" for name, value in part.settings.items()),
                    )
                    for noun, part in parts
                ],
            ),
            ("Experts", EXPERT_COLUMNS, [_expert_row(job, history.get(job.name)) for job in run.jobs]),
            (
                "Timings",
                ("stage", "time"),
                [(stage, clock(seconds)) for stage, seconds in run.timings().items()],
            ),
            ("Simulation", ("quantity", "value"), _simulation_rows(result.simulate, simulated)),
            *_failed(gallery, simulated),
            *_transfer_tables(result),
            *_molecule_tables(result.systems),
            (
                "Versions",
                ("package", "version"),
                [("python", python_version()), *((name, version(name)) for name in PACKAGES)],
            ),
            ("Data", ("quantity", "value"), [("SHA-256 fingerprint", result.data_fingerprint)]),
        ],
        config=to_dict(config),
    )


def _setup(run: Run, simulated: SimulateConfig) -> Setup:
    """Of the experts, the first is the one whose forces a simulation reads."""
    first, *_ = run.config.experts
    regularised = any(expert.consistency_weight for expert in run.config.experts)
    return Setup(simulated.timestep, simulated.force_time, first.conservative, regularised)


def _failed(gallery: Gallery, simulated: SimulateConfig) -> list[Table]:
    """Chains that failed: of each system the first ones, and how many more."""
    rows = []
    for name, losses in gallery.losses.items():
        for loss in losses[:FAILED]:
            after = f"{loss.step * simulated.timestep:.4g}"
            rows.append((name, str(loss.chain), after, loss.reason))
        if len(losses) > FAILED:
            rows.append((name, f"{len(losses) - FAILED} more", "", ""))
    header = ("system", "chain", "last good time", "then")
    return [("Chains that failed", header, rows)] if rows else []


def _transfer_tables(result: RunResult) -> list[Table]:
    """Unseen peptides beside trained ones, in both definitions of JS."""
    about = "Transfer; pooled are the planes of all training peptides together, which need no model"
    found = [(f"{about} ({name})", transfer.HEADER, transfer.table(result, name)) for name in DEFINITIONS]
    return [table for table in found if table[-1]]


EXPERT_COLUMNS = ("interval of t", "parameters", "steps", "trained in", "denoising loss", "consistency term")


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


def _simulation_rows(counts: SimulationCounts, settings: SimulateConfig) -> list[tuple[str, str]]:
    def known(value: float | None, digits: int) -> str:
        return "not known" if value is None else f"{value:.{digits}f}"

    half, step = known(counts.kinetic_temperature, 3), known(counts.step_temperature, 3)
    of_inner = " (inner steps, springs)" if counts.inner_steps > 1 else ""
    return [
        ("chains", str(counts.chains)),
        ("frames kept", f"{counts.frames:,}"),
        ("chains that left the physical range", str(counts.chains_left_range)),
        ("chains that became non-finite", str(counts.chains_not_finite)),
        (f"kinetic temperature, of half-step velocities{of_inner}", f"{half} (bath: {counts.temperature:g})"),
        (f"kinetic temperature at the steps, colder by (ω dt)²/4{of_inner}", step),
        (f"ω dt by these temperatures, root mean square{of_inner}", known(counts.rms_omega_dt, 2)),
        (
            "largest ω dt, by the mass-weighted Hessian at frames of the data",
            f"{known(counts.largest_omega_dt, 2)} (stable below {counts.limit:.3g})",
        ),
        ("chains start at", settings.start_words),
    ]


def _molecule_tables(systems: Mapping[str, SystemResult]) -> list[Table]:
    """Metrics of each system and each projection where there are several, then modes and lengths."""
    tables: list[Table] = []
    if len(systems) > 1:
        rows = [(name, *row) for name, result in systems.items() for row in result.table()]
        tables.append(("Systems", ("system", *TABLE_HEADER), rows))
    for name, result in systems.items():
        rows = [
            (label, *(f"{getattr(part.corrected[kind], metric):.4f}" for kind, metric in COLUMNS))
            for label, part in result.projections.items()
        ]
        if rows:
            part = "residue" if result.molecule and result.molecule.torsions else "distance"
            header = (part, *(f"{metric.upper()} {kind}" for kind, metric in COLUMNS))
            tables.append((f"{name} by {part} (JS corrected)", header, rows))
    for name, result in systems.items():
        if result.molecule and (profiles := result.molecule.profiles):
            tables.append((f"{name}: {profiles.words}", BARRIER_HEADER, profiles.table()))
    tables += [_structure(name, result.molecule) for name, result in systems.items() if result.molecule]
    return tables


def _structure(name: str, molecule: Structure) -> Table:
    kinds, rows = ("reference", "iid", "sim"), []
    if torsions := molecule.torsions:
        rows.append(("p(φ > 0)", *(f"{torsions.phi_positive[kind]:.4f}" for kind in kinds), "", ""))
        rows.append(("φ crossings", "", "", str(torsions.phi_crossings), "", ""))
    if mirrored := molecule.mirror_images:
        rows.append(("mirror images at CA", *(f"{mirrored[kind].share:.4f}" for kind in kinds), "", ""))
    for label, length in (molecule.bonds | molecule.distances).items():
        spreads = (f"{1000 * mean:.1f} ± {1000 * sd:.1f}" for mean, sd in length.spread.values())
        rows.append((label, *spreads, *(f"{1000 * w1:.1f}" for w1 in length.w1.values())))
    return name, ("bond or distance, length ± spread (pm)", *kinds, "W1 iid", "W1 sim"), rows


def warnings(result: RunResult) -> list[str]:
    """What went wrong in samples or simulation, in words."""
    texts = []
    for counts, noun in ((result.sample, "samples"), (result.simulate, "chains of the simulation")):
        if counts.chains_left_range:
            texts.append(f"{counts.chains_left_range} of {counts.chains} {noun} left the physical range.")
        if counts.frames_not_finite:
            texts.append(
                f"{counts.frames_not_finite} of {counts.frames} frames of the {noun} are not finite "
                "and were left out of the metrics."
            )
    counts = result.simulate
    long_step = LONG_STEP if counts.inner_steps == 1 else LONG_STEP_OF_INNER
    if (largest := counts.largest_omega_dt or 0) > long_step:
        texts.append(
            f"The time step is long: ω dt is {largest:.2f} for the fastest mode, where {counts.limit:.3g} is "
            "the limit of stability; a smaller simulate.timestep is safer."
        )
    return texts
