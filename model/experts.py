"""Experts: a network, its interval of diffusion time, and the gate that selects one of several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .config import ExpertConfig, NetworkConfig
from .networks import MLP, Time, time_features
from .schedule import NoiseSchedule

Parameters = Mapping[str, Any]
Configuration = Float[Array, "*shape"]


@dataclass(frozen=True)
class Expert:
    """The functions of one expert; its parameters are always passed in.

    A conservative expert is a log-density whose gradient is the score; another is a free vector field.
    All methods take one configuration x in normalised units and one diffusion time; batch with `jax.vmap`.
    """

    config: ExpertConfig
    network: NetworkConfig
    shape: tuple[int, ...]
    schedule: NoiseSchedule = field(default_factory=NoiseSchedule)

    @cached_property
    def dimension(self) -> int:
        """D, the number of coordinates."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size

    @cached_property
    def _module(self) -> MLP:
        return MLP(self.config.hidden, 1 if self.config.conservative else self.dimension)

    def init(self, key: PRNGKeyArray) -> Parameters:
        """Random parameters."""
        return self._module.init(key, self._inputs(jnp.zeros(self.shape), jnp.zeros(())))["params"]

    def log_density(self, parameters: Parameters, x: Configuration, t: Time) -> Float[Array, ""]:
        """Unnormalised log p(x, t); ValueError if the expert is not conservative."""
        if not self.config.conservative:
            raise ValueError(f"the expert of {self.config.interval} is a score, it has no log-density")
        energy = self._outputs(parameters, x, t)[0]
        if self.network.precondition:
            return -0.5 * jnp.sum(x * x) - self._scale(t) * energy
        return -energy

    def score(self, parameters: Parameters, x: Configuration, t: Time) -> Configuration:
        """s = ∇ₓ log p(x, t)."""
        if self.config.conservative:
            return jax.grad(self.log_density, argnums=1)(parameters, x, t)
        score = self._outputs(parameters, x, t).reshape(self.shape)
        return -x + self._scale(t) * score if self.network.precondition else score

    def _outputs(self, parameters: Parameters, x: Configuration, t: Time) -> Float[Array, "outputs"]:
        # Single or tensor-float precision costs bonds and residuals their digits on GPUs.
        with jax.default_matmul_precision("highest"):
            return self._module.apply({"params": parameters}, self._inputs(x, t))  # pyright: ignore[reportReturnType]

    def _inputs(self, x: Configuration, t: Time) -> Float[Array, "inputs"]:
        features = time_features(t, self.config.interval, self.config.relative_time)
        if self.network.precondition:
            # Not σ squared: the finite difference of `weak` steps below t = 0, where there is no σ.
            log_width = jnp.log(self.schedule.variance(t) + self.network.bond_width**2)
            features = jnp.append(features, log_width)
        return jnp.concatenate([x.reshape(-1), features])

    def _scale(self, t: Time) -> Time:
        """α/√(σ² + α²b²): EDM's output scaling for VP, floored at the width b of the stiffest bond."""
        alpha, width = self.schedule.alpha(t), self.network.bond_width
        return alpha / jnp.sqrt(self.schedule.variance(t) + (alpha * width) ** 2)


def gate(t: Float[Array, "*batch"], experts: Sequence[ExpertConfig]) -> Int[Array, "*batch"]:
    """Index of the one expert that is active at each diffusion time t in (0, 1)."""
    boundaries = jnp.asarray([expert.interval[0] for expert in experts[1:]])
    return jnp.searchsorted(boundaries, t, side="right")
