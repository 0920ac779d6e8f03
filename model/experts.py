"""Experts: a network, its interval of diffusion time, and the gate that selects one of several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from . import springs
from .config import ExpertConfig, GraphTransformerConfig, MLPConfig
from .graph_transformer import GraphTransformer, MoleculeNetwork
from .molecules import Molecule, centre, random_rotations
from .networks import MLP, Time, time_features
from .schedule import NoiseSchedule

Parameters = Mapping[str, Any]
Configuration = Float[Array, "*shape"]


@dataclass(frozen=True)
class Expert:
    """The functions of one expert; its parameters are always passed in.

    A conservative expert is a log-density whose gradient is the score; another is a free vector field.
    All methods take one configuration x in normalised units and one diffusion time, and, where the network is
    a graph transformer, the molecule that x is a configuration of; batch with `jax.vmap`.
    """

    config: ExpertConfig
    network: MLPConfig | GraphTransformerConfig
    shape: tuple[int, ...]
    schedule: NoiseSchedule = field(default_factory=NoiseSchedule)
    compute: Literal["float32", "bfloat16"] = "float32"
    """What the network multiplies in; its parameters and outputs, and all sums over them, are float32."""

    @cached_property
    def _module(self) -> MLP | MoleculeNetwork:
        hidden, conservative, network = self.config.hidden, self.config.conservative, self.network
        if network.kind == "mlp":
            return MLP(hidden, 1 if conservative else prod(self.shape), self.compute)
        transformer = GraphTransformer(
            hidden[0], len(hidden), 1 if conservative else 3, network.heads, network.head_width, self.compute
        )
        return MoleculeNetwork(transformer, network.embedding == "one-hot")

    def init(self, key: PRNGKeyArray) -> Parameters:
        """Random parameters."""
        molecule = None
        if self.network.kind != "mlp":
            beads = self.shape[0]
            molecule = Molecule(jnp.zeros((beads, 4), jnp.int32), jnp.ones(beads, bool))
        x, t = jnp.zeros(self.shape, jnp.float32), jnp.zeros((), jnp.float32)
        return self._module.init(key, *self._inputs(x, t, molecule))["params"]

    def dimension(self, molecule: Molecule | None = None) -> int | Int[Array, "*batch"]:
        """D, the number of coordinates; without those of the centre of mass where noise does not move it."""
        if molecule is None:
            return prod(self.shape)
        return 3 * (molecule.beads - (1 if self._centred else 0))

    def project(self, x: Configuration, molecule: Molecule | None = None) -> Configuration:
        """x without what is no coordinate: padding and, where noise does not move it, the centre."""
        if molecule is None:
            return x
        return centre(x, molecule.mask) if self._centred else jnp.where(molecule.mask[:, None], x, 0)

    def augment(self, x: Float[Array, "batch *shape"], key: PRNGKeyArray) -> Float[Array, "batch *shape"]:
        """A batch of molecules turned at random; anything else as it is."""
        if self.network.kind == "mlp":
            return x
        return jnp.einsum("bij,bnj->bni", random_rotations(key, len(x), x.dtype), x)

    def log_density(
        self, parameters: Parameters, x: Configuration, t: Time, molecule: Molecule | None = None
    ) -> Float[Array, ""]:
        """Unnormalised log p(x, t); ValueError if the expert is not conservative."""
        if not self.config.conservative:
            raise ValueError(f"the expert of {self.config.interval} is a score, it has no log-density")
        energy = jnp.sum(self._outputs(parameters, x, t, molecule))
        return self._known(x, t, molecule) - self._scale(t) * energy

    def score(
        self, parameters: Parameters, x: Configuration, t: Time, molecule: Molecule | None = None
    ) -> Configuration:
        """s = ∇ₓ log p(x, t)."""
        if self.config.conservative:
            return jax.grad(self.log_density, argnums=1)(parameters, x, t, molecule)
        score = self._centre(self._outputs(parameters, x, t, molecule).reshape(self.shape), molecule)
        return jax.grad(self._known)(x, t, molecule) + self._scale(t) * score

    def _known(self, x: Configuration, t: Time, molecule: Molecule | None) -> Float[Array, ""]:
        """The part of the log-density that is not learned."""
        known = jnp.zeros((), x.dtype)
        if self.network.precondition:
            known -= 0.5 * jnp.sum(self._centre(x, molecule) ** 2)
        if self.network.kind != "mlp" and self.network.springs:
            if molecule is None or molecule.springs is None:
                raise ValueError("network.springs needs molecules with springs: convert the data again")
            known += springs.log_density(molecule.springs, self.schedule, x, t)
        return known

    @property
    def _centred(self) -> bool:
        return self.network.kind == "graph-transformer" and self.network.centred

    def _centre(self, x: Configuration, molecule: Molecule | None) -> Configuration:
        return x if molecule is None else centre(x, molecule.mask)

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
        if molecule is None:
            return (jnp.concatenate([x.reshape(-1), features]),)
        return x, features, molecule

    def _scale(self, t: Time) -> Time:
        """α/√(σ² + α²b²): EDM's output scaling for VP, floored at the width b of the stiffest bond."""
        if not self.network.precondition:
            return jnp.ones_like(t)
        alpha, width = self.schedule.alpha(t), self.network.bond_width
        return alpha / jnp.sqrt(self.schedule.variance(t) + (alpha * width) ** 2)


def active_at(time: float, experts: Sequence[ExpertConfig]) -> int:
    """Number of the expert that is active at a diffusion time. ValueError for one outside (0, 1)."""
    if not 0 < time < 1:
        raise ValueError(f"time {time:g}: a diffusion time has to lie between 0 and 1, both left out")
    return int(gate(jnp.asarray(time), experts))


def gate(t: Float[Array, "*batch"], experts: Sequence[ExpertConfig]) -> Int[Array, "*batch"]:
    """Index of the one expert that is active at each diffusion time t in (0, 1)."""
    boundaries = jnp.asarray([expert.interval[0] for expert in experts[1:]], t.dtype)
    return jnp.searchsorted(boundaries, t, side="right")
