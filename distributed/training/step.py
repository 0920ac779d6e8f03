"""The train step of one expert: pure functions of a state and a batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...model.config import ExpertConfig, ObjectiveConfig
from ...model.experts import Expert, Parameters
from ...model.losses.objective import Losses, draw, loss
from ...model.losses.weights import Bias
from ...model.molecules import Molecule, hide_residues
from ..config import TrainConfig

ADAM_SIZE = 0.2
"""Root mean square of AdamW's updates over the learning rate (Liu et al. 2025), which those of Muon get."""
AXIS = "batch"
"""Of the mesh of an expert's devices."""


class Batch(NamedTuple):
    """Normalised frames, padded to a common shape, and the number of the molecule that each is of.

    Of biased frames also their log-weights, and the numbers of the walkers that made them.
    """

    frames: Float[Array, "*axes"]
    system: Int[Array, "*rows"]
    log_weight: Float[Array, "*rows"] | None = None
    walker: Int[Array, "*rows"] | None = None


class TrainState(NamedTuple):
    """All that a step changes. Noise and data order follow from the seed and `step`, so resuming is exact."""

    step: Int[Array, ""]
    parameters: Parameters
    average: Parameters
    optimiser: optax.OptState


class StepMetrics(NamedTuple):
    """What a step measures, before its update."""

    denoising: Float[Array | np.ndarray, "*steps"]
    consistency: Float[Array | np.ndarray, "*steps"]
    gradient_norm: Float[Array | np.ndarray, "*steps"]


TrainStep = Callable[[TrainState, Batch, PRNGKeyArray], tuple[TrainState, StepMetrics]]


def learning_rate(config: TrainConfig, steps: int) -> optax.Schedule:
    """Cosine from the first to the final learning rate, after the warm-up."""
    peak, first = config.learning_rate, min(config.warm_up, steps - 1)
    fall = optax.cosine_decay_schedule(peak, steps - first, config.final_learning_rate / peak)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, first), fall], [first]) if first else fall


def optimiser(config: TrainConfig, steps: int) -> optax.GradientTransformation:
    """AdamW, or Muon (Jordan et al. 2024) for matrices and AdamW for the rest, with clipping."""
    bounds = [optax.clip(config.clip)]
    if config.clip_norm is not None:
        bounds.append(optax.clip_by_global_norm(config.clip_norm))
    rate, decay = learning_rate(config, steps), config.weight_decay
    if config.optimiser == "adamw":
        return optax.chain(*bounds, optax.adamw(rate, weight_decay=decay))
    muon = optax.contrib.muon(rate, weight_decay=decay, adam_weight_decay=decay, consistent_rms=ADAM_SIZE)
    return optax.chain(*bounds, muon)


def init_state(
    expert: Expert[ExpertConfig], config: TrainConfig, steps: int, key: PRNGKeyArray
) -> TrainState:
    """The state before the first step; its average is the parameters themselves."""
    parameters = expert.init(key)
    return TrainState(
        jnp.zeros((), jnp.int32), parameters, parameters, optimiser(config, steps).init(parameters)
    )


def make_train_step(
    expert: Expert[ExpertConfig],
    objective: ObjectiveConfig,
    config: TrainConfig,
    steps: int,
    steps_per_epoch: int,
    molecules: Molecule | None = None,
    mesh: Mesh | None = None,
    bias: Bias | None = None,
) -> TrainStep:
    """One step of `expert`: gradient, AdamW, moving average; its noise follows from the key and the step.

    `molecules` holds what `Batch.system` counts, and `bias` what gives biased frames their weights. All is
    drawn for the whole batch; it is taken in one part on each device of `mesh`, whose axis is AXIS, and there
    in `config.accumulate` parts one after another, which changes nothing but the rounding.
    """
    update = optimiser(config, steps).update
    first_regularised = round(objective.consistency_start * steps)

    def gradient(
        parameters: Parameters, batch: Batch, key: PRNGKeyArray, regularised: bool
    ) -> tuple[Losses, Parameters]:
        own = jax.tree.map(lambda table: table[batch.system], molecules)
        # Not 0 to 2, which are what `draw` splits the key into.
        if config.hide_residues and own is not None:
            own = hide_residues(own, jax.random.fold_in(key, 4), config.hide_residues)
        x0 = expert.space.augment(batch.frames, jax.random.fold_in(key, 3))
        biased = None
        if bias is not None and batch.log_weight is not None and batch.walker is not None:
            biased = bias.rows(batch.system, batch.log_weight, batch.walker)
        x0, own, biased = jax.tree.map(lambda a: jnp.repeat(a, objective.draws, axis=0), (x0, own, biased))
        drawn = draw(expert, objective, x0.shape, own, key, x0.dtype)

        def part_gradient(parameters: Parameters, part: Any) -> tuple[Losses, Parameters]:
            slope = jax.grad(loss, has_aux=True)
            gradients, losses = slope(parameters, expert, objective, *part, regularised=regularised)
            return losses, gradients

        def mean_gradient(parameters: Parameters, rows: Any) -> tuple[Losses, Parameters]:
            """Of one part after another."""
            if config.accumulate == 1:
                return part_gradient(parameters, rows)

            def add(total: Any, part: Any) -> tuple[Any, None]:
                return jax.tree.map(jnp.add, total, part_gradient(parameters, part)), None

            parts = config.accumulate
            split = jax.tree.map(lambda a: a.reshape(parts, len(a) // parts, *a.shape[1:]), rows)
            none = jnp.zeros((), x0.dtype)
            zeros = Losses(none, none), jax.tree.map(jnp.zeros_like, parameters)
            total, _ = jax.lax.scan(add, zeros, split)
            return jax.tree.map(lambda a: a / config.accumulate, total)

        def exchanged(parameters: Parameters, rows: Any) -> tuple[Losses, Parameters]:
            """The mean over the devices, as one vector: an exchange for each array would cost thirty."""
            vector, unravel = ravel_pytree(mean_gradient(parameters, rows))
            return unravel(jax.lax.pmean(vector, AXIS))

        rows = x0, drawn, own, biased
        if mesh is None or mesh.size == 1:
            return mean_gradient(parameters, rows)
        # Each device differentiates its own rows: left to the compiler, it would exchange more and fuse less.
        share = jax.shard_map(exchanged, mesh=mesh, in_specs=(P(), P(AXIS)), out_specs=P(), check_vma=False)
        return share(parameters, rows)

    def step(state: TrainState, batch: Batch, key: PRNGKeyArray) -> tuple[TrainState, StepMetrics]:
        noise_key = jax.random.fold_in(key, state.step)
        if expert.config.consistency_weight == 0:
            losses, gradients = gradient(state.parameters, batch, noise_key, False)
        elif first_regularised == 0:
            losses, gradients = gradient(state.parameters, batch, noise_key, True)
        else:
            losses, gradients = jax.lax.cond(
                state.step >= first_regularised,
                lambda: gradient(state.parameters, batch, noise_key, True),
                lambda: gradient(state.parameters, batch, noise_key, False),
            )
        updates, optimiser_state = update(gradients, state.optimiser, state.parameters)
        parameters: Any = optax.apply_updates(state.parameters, updates)
        average: Any = optax.incremental_update(parameters, state.average, 1 - config.ema_decay)
        done = state.step + 1
        if config.restart_from_ema:
            restart = done % steps_per_epoch == 0
            parameters = jax.tree.map(lambda p, a: jnp.where(restart, a, p), parameters, average)
        metrics = StepMetrics(losses.denoising, losses.consistency, optax.tree.norm(gradients))
        return TrainState(done, parameters, average, optimiser_state), metrics

    return step


def train_block(
    step: TrainStep,
    state: TrainState,
    batches: Batch,
    count: int | Int[Array, ""],
    key: PRNGKeyArray,
    first: int | Int[Array, ""] = 0,
) -> tuple[TrainState, StepMetrics]:
    """Take `count` steps of a block of batches from its `first` on; the metrics of the others are zero.

    A count that is not static lets one program serve parts of any length, with the same bits.
    """
    none = jnp.zeros(len(batches.frames), batches.frames.dtype)
    metrics = StepMetrics(none, none, none)

    def body(index: Int[Array, ""], carry: tuple[TrainState, StepMetrics]) -> tuple[TrainState, StepMetrics]:
        state, metrics = carry
        state, new = step(state, jax.tree.map(lambda part: part[index], batches), key)
        return state, jax.tree.map(lambda row, value: row.at[index].set(value), metrics, new)

    return jax.lax.fori_loop(first, first + count, body, (state, metrics))
