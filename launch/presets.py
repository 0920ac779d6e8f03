"""One preset for each experiment of the paper: plain values for every method and recipe."""

from ..data.config import MuellerBrownConfig
from ..distributed.config import ClusterConfig, TrainConfig
from ..model.config import (
    SMALLEST_TIME,
    ExpertConfig,
    NetworkConfig,
    ObjectiveConfig,
    SampleConfig,
    SimulateConfig,
)
from .config import Config, Method, Recipe

TWO_FOR_ONE_TIME = 0.02


def mueller_brown(method: Method, recipe: Recipe) -> Config:
    """The Müller-Brown potential at the paper's full size (Tables 3 and 6)."""
    paper = recipe == "paper"
    weight = 5e-4 if method in ("fokker-planck", "both") else 0.0
    if method in ("mixture", "both"):
        seam = 0.099  # The paper draws times of the smallest expert up to here, of the middle one from here.
        experts = (
            ExpertConfig(
                interval=(0, 0.1),
                train_interval=(SMALLEST_TIME, seam) if paper else None,
                hidden=(64, 64, 64),
                epochs=120,
                midpoint=0.05,
                fokker_planck=weight,
                relative_time=not paper,
            ),
            ExpertConfig(
                interval=(0.1, 0.6),
                train_interval=(seam, 0.6) if paper else None,
                hidden=(64, 64),
                epochs=30,
                midpoint=0.35,
            ),
            ExpertConfig(interval=(0.6, 1), hidden=(54, 54), epochs=30, midpoint=0.8),
        )
    else:
        experts = (
            ExpertConfig(
                interval=(0, 1),
                hidden=(92, 92, 92),
                epochs=180,
                midpoint=0.5,
                conservative=method != "score",
                fokker_planck=weight,
                relative_time=False,
            ),
        )
    force_time = TWO_FOR_ONE_TIME if method == "two-for-one" else SMALLEST_TIME
    common = {
        "preset": "mueller-brown",
        "method": method,
        "recipe": recipe,
        "experts": experts,
        "cluster": ClusterConfig(),
    }
    if paper:
        return Config(
            **common,
            data=MuellerBrownConfig(chains=1, burn_in=0, integrator="langevin"),
            network=NetworkConfig(),
            objective=ObjectiveConfig(estimator="weak"),
            train=TrainConfig(learning_rate=3e-4, ema_decay=0.995, restart_from_ema=True),
            sample=SampleConfig(solver="euler-maruyama", evaluations=1000),
            simulate=SimulateConfig(chains=100, burn_in=10_000, integrator="langevin", force_time=force_time),
        )
    return Config(
        **common,
        data=MuellerBrownConfig(),
        network=NetworkConfig(precondition=True),
        objective=ObjectiveConfig(estimator="exact", fp_fraction=0.25),
        train=TrainConfig(),
        sample=SampleConfig(),
        simulate=SimulateConfig(chains=200, burn_in=10_000, force_time=force_time),
    )


PRESETS = {"mueller-brown": mueller_brown}
