"""One preset for each experiment of the paper: plain values for every method and recipe."""

from dataclasses import dataclass, replace
from typing import Any

from ...data.config import MoleculesConfig, MuellerBrownConfig, ReferenceConfig
from ...model.config import (
    SMALLEST_TIME,
    ExpertConfig,
    GraphTransformerConfig,
    MLPConfig,
    ObjectiveConfig,
    SampleConfig,
    SimulateConfig,
    VectorTransformerConfig,
)
from ..config import ClusterConfig, TrainConfig
from .config import Config, Method, Recipe

TWO_FOR_ONE_TIME = 0.02


@dataclass(frozen=True)
class _Size:
    """Networks and times of the three experts, the smallest times first, and of the one model beside them."""

    hidden: tuple[tuple[int, ...], ...]
    """Hidden widths of each expert."""
    epochs: tuple[int, ...]
    single: tuple[int, ...]
    """Hidden widths of the one model."""
    single_epochs: int
    batch: int = 1024
    heads: int = 8
    head_width: int = 64
    intervals: tuple[tuple[float, float], ...] = ((0.0, 0.1), (0.1, 0.6), (0.6, 1.0))
    midpoints: tuple[float, ...] = (0.03, 0.35, 0.8)
    single_midpoint: float = 0.3
    energies: int = 1
    """How many of the three are energies; the others are scores."""


def _experts(size: _Size, weight: float, method: Method, recipe: Recipe) -> tuple[ExpertConfig, ...]:
    """The experts of a method; `weight` is that of the consistency term, of the smallest times alone."""
    paper = recipe == "paper"
    if method not in ("mixture", "both"):
        return (
            ExpertConfig(
                interval=(0, 1),
                hidden=size.single,
                epochs=size.single_epochs,
                midpoint=size.single_midpoint,
                conservative=method != "score",
                consistency_weight=weight,
                relative_time=False,
            ),
        )
    seam = 0.099  # The paper draws times of the smallest expert up to here, of the middle one from here.
    drawn = ((SMALLEST_TIME, seam), (seam, 0.6), None)
    return tuple(
        ExpertConfig(
            interval=interval,
            train_interval=drawn[i] if paper else None,
            hidden=size.hidden[i],
            epochs=size.epochs[i],
            midpoint=size.midpoints[i],
            conservative=i < size.energies,
            consistency_weight=weight if i == 0 else 0.0,
            relative_time=i > 0 or not paper,
        )
        for i, interval in enumerate(size.intervals)
    )


def _force_time(method: Method) -> float:
    return TWO_FOR_ONE_TIME if method == "two-for-one" else SMALLEST_TIME


MUELLER_BROWN = _Size(
    hidden=((64, 64, 64), (64, 64), (54, 54)),
    epochs=(120, 30, 30),
    single=(92, 92, 92),
    single_epochs=180,
    midpoints=(0.05, 0.35, 0.8),
    single_midpoint=0.5,
    energies=3,
)


def mueller_brown(method: Method, recipe: Recipe) -> Config:
    """The Müller-Brown potential at the paper's full size (Tables 3 and 6)."""
    paper = recipe == "paper"
    weight = 5e-4 if method in ("fokker-planck", "both") else 0.0
    force_time = _force_time(method)
    common: dict[str, Any] = {
        "preset": "mueller-brown",
        "method": method,
        "recipe": recipe,
        "experts": _experts(MUELLER_BROWN, weight, method, recipe),
        "cluster": ClusterConfig(),
    }
    if paper:
        return Config(
            **common,
            data=MuellerBrownConfig(chains=1, burn_in=0, integrator="langevin"),
            network=MLPConfig(),
            objective=ObjectiveConfig(estimator="weak"),
            train=TrainConfig(learning_rate=3e-4, ema_decay=0.995, restart_from_ema=True),
            sample=SampleConfig(solver="euler-maruyama", evaluations=1000),
            simulate=SimulateConfig(chains=100, burn_in=10_000, integrator="langevin", force_time=force_time),
        )
    return Config(
        **common,
        data=MuellerBrownConfig(),
        network=MLPConfig(precondition=True),
        objective=ObjectiveConfig(estimator="exact", consistency_fraction=0.25),
        train=TrainConfig(),
        sample=SampleConfig(),
        simulate=SimulateConfig(chains=200, burn_in=10_000, force_time=force_time),
    )


# Tables 4 and 5 of the paper, and what two cores train in less than an hour.
ALANINE = _Size(((96, 96),) * 3, (7000, 2000, 1000), (96, 96), 10_000)
DIPEPTIDES = _Size(((128, 128, 128), (96, 96), (96, 96)), (100, 20, 10), (128, 128, 128), 120)
ALANINE_SMALL = _Size(((64, 64),) * 3, (72, 96, 52), (64, 64), 100, 128, 4, 16)
DIPEPTIDES_SMALL = _Size(((64, 64),) * 3, (24, 36, 15), (64, 64), 30, 128, 4, 16)


def _ours(size: _Size) -> _Size:
    """Our recipe's: the weights of separate modes are found where noise joins them, so energies reach up to
    there; and each frame is noised twice, so half as many are in a batch of as many rows."""
    return replace(
        size,
        intervals=((0.0, 0.25), (0.25, 0.6), (0.6, 1.0)),
        midpoints=(0.075, 0.42, 0.8),
        batch=size.batch // 2,
        epochs=tuple(count // 2 for count in size.epochs),
        single_epochs=size.single_epochs // 2,
    )


# Alanine dipeptide as in bgmol's data, and two cores' worth of it; dipeptides with charged ends.
ALANINE_REFERENCE = ReferenceConfig(
    force_field="amber99sb-ildn",
    temperature=300.0,
    production=24.0,
    interval=0.4,
    frames=50_000,
    walkers=2,
)
DIPEPTIDE_REFERENCE = ReferenceConfig(temperature=310.0, production=10.0)
DIPEPTIDE_SMALL_REFERENCE = ReferenceConfig(
    temperature=310.0, learning=1.0, production=3.0, interval=0.4, frames=2750
)
REFERENCES = {
    "alanine-dipeptide": ALANINE_REFERENCE,
    "alanine-dipeptide-small": ALANINE_REFERENCE,
    "dipeptides": DIPEPTIDE_REFERENCE,
    "dipeptides-small": DIPEPTIDE_SMALL_REFERENCE,
}
ALANINE_SEQUENCE = ("ACE-ALA-NME",)
# Every residue is twice at either place.
# fmt: off
TRAINED = (
    "AI", "AV", "CK", "CN", "DL", "DR", "EK", "EM", "FI", "FN",
    "GE", "GP", "HL", "HQ", "IR", "IS", "KF", "KS", "LH", "LT",
    "MQ", "MV", "ND", "NW", "PG", "PY", "QA", "QT", "RA", "RC",
    "SD", "SY", "TE", "TM", "VF", "VW", "WC", "WG", "YH", "YP",
)
# fmt: on
HELD_OUT = ("ET", "LA")


def _molecules(
    name: str, size: _Size, data: MoleculesConfig, simulate: dict[str, Any], method: Method, recipe: Recipe
) -> Config:
    paper = recipe == "paper"
    size = size if paper else _ours(size)
    alanine = name.startswith("alanine")
    weights = {"fokker-planck": 5e-4, "both": 1e-4} if paper else {"fokker-planck": 0.02, "both": 1.0}
    # Heavy from the first step on the term costs samples, most of all of many peptides, and time.
    start = (0.3 if alanine else 0.6) if method == "both" else 0.0
    return Config(
        preset=name,
        method=method,
        recipe=recipe,
        data=data,
        experts=_experts(size, weights.get(method, 0.0), method, recipe),
        network=GraphTransformerConfig(
            heads=size.heads,
            head_width=size.head_width,
            embedding="one-hot" if alanine else "features",
            centred=False,
        )
        if paper
        else VectorTransformerConfig(
            heads=size.heads, head_width=size.head_width, residue_properties=not alanine
        ),
        objective=ObjectiveConfig(estimator="weak")
        if paper
        else ObjectiveConfig(
            consistency="diffclf",
            consistency_fraction=0.5,
            consistency_start=start,
            log_sigma_fraction=0.5,
            antithetic=True,
        ),
        train=TrainConfig(
            batch_size=size.batch,
            optimiser="adamw" if paper else "muon",
            learning_rate=3e-4 if paper else 2e-3,
            warm_up=0 if paper else 500,
            clip_norm=None if paper else 10.0,
            ema_decay=0.995 if paper else 0.999,
            restart_from_ema=paper,
            hide_residues=0.0 if paper or alanine else 0.3,
            block=64,
            checkpoint_every=2000,
        ),
        sample=SampleConfig(solver="euler-maruyama", evaluations=1000, samples=50_000, chunk=1000)
        if paper
        else SampleConfig(samples=50_000, chunk=1000),
        simulate=SimulateConfig(
            **simulate,
            integrator="langevin" if paper else "baoab",
            force_time=_force_time(method),
            first_phi_positive=paper and alanine,
            start="data" if paper else "stratified",
        ),
        cluster=ClusterConfig(),
        reference=REFERENCES[name],
    )


def alanine_dipeptide(method: Method, recipe: Recipe) -> Config:
    """Alanine dipeptide at the paper's size (Tables 1 and 4): 100 chains, 1.2 µs in all."""
    simulate = {"frames": 50_000, "chains": 100, "chunk": 50, "stride": 9600} | {
        "burn_in": 1_200_000,
        "segment": 10,
    }
    data = MoleculesConfig(beads="alanine-dipeptide", temperature=300.0, sequences=ALANINE_SEQUENCE)
    return _molecules("alanine-dipeptide", ALANINE, data, simulate | {"timestep": 2e-3}, method, recipe)


def alanine_dipeptide_small(method: Method, recipe: Recipe) -> Config:
    """Alanine dipeptide within an hour on two cores: 400 chains of 125 ps, the first 25 ps dropped."""
    simulate = {"frames": 50_000, "chains": 400, "chunk": 100, "segment": 25} | (
        {"timestep": 2e-3, "stride": 400, "burn_in": 12_500}
        if recipe == "paper"
        else {"timestep": 8e-3, "inner_steps": 4, "stride": 100, "burn_in": 3125}
    )
    data = MoleculesConfig(beads="alanine-dipeptide", temperature=300.0, sequences=ALANINE_SEQUENCE)
    return _molecules("alanine-dipeptide-small", ALANINE_SMALL, data, simulate, method, recipe)


def dipeptides(method: Method, recipe: Recipe) -> Config:
    """Dipeptides at the paper's size (Tables 2 and 5): 30 ns in all of each, from 10 starts."""
    simulate = {"frames": 20_000, "chains": 10, "chunk": 10, "stride": 3000, "segment": 20}
    data = MoleculesConfig(temperature=310.0, evaluate="test")
    return _molecules("dipeptides", DIPEPTIDES, data, simulate | {"timestep": 5e-4}, method, recipe)


def dipeptides_small(method: Method, recipe: Recipe) -> Config:
    """Dipeptides within an hour on two cores: 5 ns of each from 200 starts; the paper's recipe 1 from 100."""
    simulate = {"frames": 10_000, "chunk": 50, "segment": 25} | (
        {"timestep": 1e-3, "chains": 100, "stride": 100, "burn_in": 2000}
        if recipe == "paper"
        else {"timestep": 5e-3, "inner_steps": 5, "chains": 200, "stride": 80, "burn_in": 1000}
    )
    data = MoleculesConfig(
        temperature=310.0, evaluate="validation", sequences=TRAINED, held_out=HELD_OUT, held_out_factor=4
    )
    return _molecules("dipeptides-small", DIPEPTIDES_SMALL, data, simulate, method, recipe)


PRESETS = {
    "mueller-brown": mueller_brown,
    "alanine-dipeptide": alanine_dipeptide,
    "alanine-dipeptide-small": alanine_dipeptide_small,
    "dipeptides": dipeptides,
    "dipeptides-small": dipeptides_small,
}
