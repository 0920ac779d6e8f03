import re
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.model.config import ExpertConfig, MLPConfig, ObjectiveConfig
from fokker.model.experts import Expert, Parameters
from fokker.model.losses.objective import draw, loss

INTERVALS = ((0, 0.1), (0.1, 0.6), (0.6, 1))
PLAIN = MLPConfig()
PRECONDITIONED = MLPConfig(precondition=True)


@pytest.fixture
def float64() -> Iterator[None]:
    """Double precision, in this test only."""
    with jax.enable_x64(True):
        yield


def expert_config(interval: tuple[float, float] = (0, 1), **changes) -> ExpertConfig:
    return ExpertConfig(
        **{"interval": interval, "hidden": (16, 16), "epochs": 1, "midpoint": sum(interval) / 2} | changes
    )


def make_expert(*shape: int, network: MLPConfig = PLAIN, **changes) -> Expert:
    return Expert(expert_config(**changes), network, shape)


def random_parameters(expert: Expert, seed: int = 0) -> Parameters:
    """Parameters of the size that a trained network's have, with no bias zero."""
    random = np.random.default_rng(seed)
    shapes = jax.eval_shape(expert.init, jax.random.key(0))
    return jax.tree.map(lambda p: jnp.asarray(random.normal(size=p.shape) / np.sqrt(p.shape[0])), shapes)


class MixtureExpert(Expert):
    """The exact log p_t of data from a Gaussian mixture, in place of a network.

    Data of weights w, means μ and covariances Q diag(v) Qᵀ have at time t the means α μ and the covariances
    Q diag(α² v + σ²) Qᵀ. `mixture` makes the parameters.
    """

    def log_density(self, parameters: Parameters, x, t, molecule=None):
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        along = jnp.einsum("kij,ki->kj", parameters["axes"], x.reshape(-1) - alpha * parameters["mean"])
        variance = alpha**2 * parameters["variance"] + sigma**2
        each = -0.5 * jnp.sum(along**2 / variance + jnp.log(variance), axis=1)
        return jax.nn.logsumexp(parameters["log_weight"] + each)


def mixture(dimension: int, components: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    axes = [np.linalg.qr(random.normal(size=(dimension, dimension)))[0] for _ in range(components)]
    return {
        "log_weight": np.log(random.dirichlet(np.full(components, 5.0))),
        "mean": random.normal(size=(components, dimension)),
        "axes": np.stack(axes),
        "variance": random.uniform(0.1, 1, size=(components, dimension)),
    }


def loss_of(parameters, expert: Expert, config: ObjectiveConfig, x0, key, *, regularised: bool):
    """The loss with the noise of a key."""
    drawn = draw(expert, config, x0.shape, None, key)
    return loss(parameters, expert, config, x0, drawn, regularised=regularised)


def deviation(values, expected) -> float:
    """By how many standard errors the mean of independent `values` (first axis) is off, at the most."""
    values = np.asarray(values, np.float64)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return np.max(np.abs(values.mean(axis=0) - expected) / error)


def precisions(function: Callable, *args) -> list[str]:
    """The precision of each matrix product of the program that JAX hands to the compiler."""
    products = re.findall(r"dot_general.*", jax.jit(function).lower(*args).as_text())
    assert products, "the program holds no matrix product"
    return ["highest" if "precision = [HIGHEST, HIGHEST]" in line else "default" for line in products]
