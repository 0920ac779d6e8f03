"""Experts: a network, its interval of diffusion time, and the gate that selects one of several."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, Generic, Literal, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .config import ArchitectureConfig, NetworkConfig
from .diffusion.schedule import NoiseSchedule
from .molecules import Molecule
from .networks.graph_transformer import GraphTransformer, MoleculeNetwork
from .networks.mlp import MLP, Time, time_features
from .networks.vector_attention import VectorTransformer
from .space import BeadSpace, Configuration, Point, Space

Parameters = Mapping[str, Any]
Architecture = TypeVar("Architecture", bound=ArchitectureConfig, covariant=True)


@dataclass(frozen=True)
class Expert(Generic[Architecture]):
    """The functions of one expert; its parameters are always passed in.

    A conservative expert is a log-density whose gradient is the score; another is a free vector field.
    All methods take one configuration x in normalised units and one diffusion time, and, where the network is
    a graph transformer, the molecule that x is a configuration of; batch with `jax.vmap`.
    """

    config: Architecture
    network: NetworkConfig
    shape: tuple[int, ...]
    schedule: NoiseSchedule = field(default_factory=NoiseSchedule)
    compute: Literal["float32", "bfloat16"] = "float32"
    """What the network multiplies in; its parameters and outputs, and all sums over them, are float32."""

    @cached_property
    def space(self) -> Space:
        """What x is."""
        if self.network.kind == "mlp":
            return Point(self.shape)
        return BeadSpace(self.shape, self.network.centred, self.network.springs)

    @cached_property
    def _module(self) -> MLP | MoleculeNetwork:
        hidden, conservative, network = self.config.hidden, self.config.conservative, self.network
        if network.kind == "mlp":
            return MLP(hidden, 1 if conservative else prod(self.shape), self.compute)
        size = {"width": hidden[0], "layers": len(hidden), "compute": self.compute}
        size |= {"heads": network.heads, "head_width": network.head_width}
        if network.kind == "vector-transformer":
            transformer = VectorTransformer(**size, vector=not conservative)
            return MoleculeNetwork(transformer, False, network.residue_properties)
        transformer = GraphTransformer(**size, outputs=1 if conservative else 3)
        return MoleculeNetwork(transformer, network.embedding == "one-hot")

    def init(self, key: PRNGKeyArray) -> Parameters:
        """Random parameters."""
        x, molecule = self.space.example()
        return self._module.init(key, *self._inputs(x, jnp.zeros((), x.dtype), molecule))["params"]

    def log_density(
        self, parameters: Parameters, x: Configuration, t: Time, molecule: Molecule | None = None
    ) -> Float[Array, ""]:
        """Unnormalised log p(x, t); ValueError if the expert is not conservative."""
        if not self.config.conservative:
            raise ValueError(f"the expert of {self.config.interval} is a score, it has no log-density")
        energy = self._energy(parameters, x, t, molecule)
        return self._known(x, t, molecule) - self._scale(t) * energy

    def score(
        self, parameters: Parameters, x: Configuration, t: Time, molecule: Molecule | None = None
    ) -> Configuration:
        """s = ∇ₓ log p(x, t)."""
        if self.config.conservative:
            return jax.grad(self.log_density, argnums=1)(parameters, x, t, molecule)
        field = self._field(parameters, x, t, molecule)
        return self.known_score(x, t, molecule) + self._scale(t) * field

    def known_score(self, x: Configuration, t: Time, molecule: Molecule | None = None) -> Configuration:
        """The part of the score that is not learned: of springs and of −½‖x‖²."""
        return jax.grad(self._known)(x, t, molecule)

    def learned_score(
        self, parameters: Parameters, x: Configuration, t: Time, molecule: Molecule | None = None
    ) -> Configuration:
        """The part of the score that the network adds."""
        if self.config.conservative:
            return -self._scale(t) * jax.grad(self._energy, argnums=1)(parameters, x, t, molecule)
        return self._scale(t) * self._field(parameters, x, t, molecule)

    def _known(self, x: Configuration, t: Time, molecule: Molecule | None) -> Float[Array, ""]:
        """The part of the log-density that is not learned."""
        known = self.space.prior(self.schedule, x, t, molecule)
        if self.network.precondition:
            known -= 0.5 * jnp.sum(self.space.centre(x, molecule) ** 2)
        return known

    def _energy(
        self, parameters: Parameters, x: Configuration, t: Time, molecule: Molecule | None
    ) -> Float[Array, ""]:
        return jnp.sum(self._outputs(parameters, x, t, molecule))

    def _field(
        self, parameters: Parameters, x: Configuration, t: Time, molecule: Molecule | None
    ) -> Configuration:
        return self.space.centre(self._outputs(parameters, x, t, molecule).reshape(self.shape), molecule)

    def _outputs(self, parameters: Parameters, x: Configuration, t: Time, molecule: Molecule | None) -> Array:
        # Single or tensor-float precision costs bonds and residuals their digits on GPUs.
        with jax.default_matmul_precision("highest"):
            outputs: Any = self._module.apply({"params": parameters}, *self._inputs(x, t, molecule))
            return outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))

    def _inputs(self, x: Configuration, t: Time, molecule: Molecule | None) -> tuple[Any, ...]:
        features = time_features(t, self.config.interval, self.config.relative_time)
        if self.network.precondition:
            # Not σ squared: the finite difference of `weak` steps below t = 0, where there is no σ.
            log_width = jnp.log(self.schedule.variance(t) + self.network.bond_width**2)
            features = jnp.append(features, log_width)
        return self.space.inputs(x, features, molecule)

    def _scale(self, t: Time) -> Time:
        """α/√(σ² + α²b²): EDM's output scaling for VP, floored at the width b of the stiffest bond."""
        if not self.network.precondition:
            return jnp.ones_like(t)
        alpha, width = self.schedule.alpha(t), self.network.bond_width
        return alpha / jnp.sqrt(self.schedule.variance(t) + (alpha * width) ** 2)


def active_at(time: float, experts: Sequence[ArchitectureConfig]) -> int:
    """Number of the expert that is active at a diffusion time. ValueError for one outside (0, 1)."""
    if not 0 < time < 1:
        raise ValueError(f"time {time:g}: a diffusion time has to lie between 0 and 1, both left out")
    return bisect_right([expert.interval[0] for expert in experts[1:]], time)


def gate(t: Float[Array, "*batch"], experts: Sequence[ArchitectureConfig]) -> Int[Array, "*batch"]:
    """Index of the one expert that is active at each diffusion time t in (0, 1)."""
    boundaries = jnp.asarray([expert.interval[0] for expert in experts[1:]], t.dtype)
    return jnp.searchsorted(boundaries, t, side="right")
