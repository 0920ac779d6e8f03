"""The compiled steps of one expert on all devices of its group, and what goes into them."""

from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, UInt

from ...data.dataset.loader import Plan
from ...data.dataset.shards import Dataset
from ...data.molecules.arrays import bias_of, molecules_of
from ...model.experts import Expert
from ..cluster import devices
from .job import ExpertJob
from .step import AXIS, Batch, StepMetrics, TrainState, init_state, make_train_step, train_block


class Program:
    """Blocks of steps, with the parameters on every device and the batches shared out among them."""

    def __init__(self, job: ExpertJob, dataset: Dataset, expert: Expert, plan: Plan):
        self._job, self._plan, self._expert, self._dataset = job, plan, expert, dataset
        # In the order of the processes, each of which brings consecutive rows of a batch.
        self.mesh = Mesh(np.asarray(jax.devices()), (AXIS,), axis_types=(AxisType.Auto,))
        self.replicated = NamedSharding(self.mesh, P())
        self._rows, self._flags = (NamedSharding(self.mesh, P(*axes)) for axes in ((None, AXIS), (AXIS,)))
        self.block = min(job.train.block, plan.steps)
        """Steps of one block of batches, the most of one call."""
        keys = jax.jit(partial(_keys, job.index), out_shardings=self.replicated)
        init_key, self._step_key = keys(np.uint32(job.seed))
        start = partial(init_state, expert, job.train, plan.steps)
        self.initial: TrainState = jax.jit(start, out_shardings=self.replicated)(init_key)

    def __call__(
        self, state: TrainState, batches: Batch, first: int, count: int, wish: int
    ) -> tuple[TrainState, StepMetrics, Bool[Array, ""], Int[Array, ""]]:
        """Take `count` steps of a block from its `first` on.

        Returns the new state, the metrics, whether all of the state is finite, and the smallest wish: a
        process wishes a number of steps to be taken at a time, and 0 to stop.
        """
        wishes = jax.make_array_from_process_local_data(
            self._flags, np.full(len(self.mesh.local_devices), wish, np.int32)
        )
        return self._compiled(state, batches, np.int32(first), np.int32(count), wishes, key=self._step_key)

    def place(
        self,
        frames: Float[np.ndarray, "block rows *shape"],
        systems: Int[np.ndarray, "block rows"],
        weights: Float[np.ndarray, "block rows 2"] | None = None,
    ) -> Batch:
        """This process's rows as its part of the global batches; `weights` are those of biased frames."""
        place = partial(jax.make_array_from_process_local_data, self._rows)
        parts = [frames, systems.astype(np.int32)]
        if weights is not None:
            parts += [weights[..., 0], weights[..., 1].astype(np.int32)]
        return Batch(*(place(np.ascontiguousarray(part)) for part in parts))

    @cached_property
    def _compiled(self) -> Any:
        job, plan = self._job, self._plan
        molecules = molecules_of(self._dataset, self._expert.shape)
        weighted = self._dataset.training(job.train.frames)[1] is not None
        step = make_train_step(
            *(self._expert, job.objective, job.train, plan.steps, plan.steps_per_epoch, molecules, self.mesh),
            bias_of(self._dataset) if weighted else None,
        )

        # The state is not donated: it is small beside the activations, and saves read it while steps go on.
        # Wishes travel with the steps, so that every process learns of them at the same step.
        def part(
            state: TrainState,
            batches: Batch,
            first: Array,
            count: Array,
            wishes: Int[Array, "devices"],
            key: PRNGKeyArray,
        ) -> tuple[TrainState, StepMetrics, Bool[Array, ""], Int[Array, ""]]:
            smallest = wishes.min()
            # No wish is negative: the steps wait for it. Each process begins exchanges that nothing orders
            # as it likes; gloo then takes one for the other, and ends the process.
            count = jnp.where(smallest < 0, 0, count)
            state, metrics = train_block(step, state, batches, count, key, first)
            finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state)]).all()
            return state, metrics, finite, smallest

        shape = (self.block, plan.batch)
        frames: Any = jax.ShapeDtypeStruct((*shape, *self._expert.shape), np.float32, sharding=self._rows)
        systems: Any = jax.ShapeDtypeStruct(shape, np.int32, sharding=self._rows)
        weights: Any = jax.ShapeDtypeStruct(shape, np.float32, sharding=self._rows)
        batches = Batch(frames, systems, *((weights, systems) if weighted else ()))
        number = jax.ShapeDtypeStruct((), np.int32)
        wishes = jax.ShapeDtypeStruct((self.mesh.size,), np.int32, sharding=self._flags)
        lowered = jax.jit(part, out_shardings=self.replicated).lower(
            self.initial, batches, number, number, wishes, key=self._step_key
        )
        return lowered.compile()

    @cached_property
    def utilisation(self) -> float:
        """Part of the devices' peak that one step a second needs; not a number where the peak is unknown.

        Of a step with the consistency term, if there is one.
        """
        peak = devices.peak(jax.devices()[0].device_kind, self._job.objective.compute)
        # The compiler counts the bodies of loops once: one step, and one of the parts of its batch.
        flops = (self._compiled.cost_analysis() or {}).get("flops") if peak else None
        return flops * self._job.train.accumulate / peak if flops and peak else float("nan")


def _keys(index: int, seed: UInt[Array, ""]) -> Key[Array, "2"]:
    """Of the initial parameters and of the noise of steps; arguments, so that all seeds share programs."""
    return jax.random.split(jax.random.fold_in(jax.random.key(seed), index))
