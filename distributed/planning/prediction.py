"""What a train step will cost, by the compiler alone: nothing is trained.

XLA compiles the step for CPUs, whatever it is planned for. A GPU's compiler fuses more and chooses other
layouts, so its memory and its number of kernels are near these and not the same; the FLOPs are.
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp

from ...model.config import ExpertConfig, NetworkConfig, ObjectiveConfig
from ...model.experts import Expert
from ...model.molecules import Molecule
from ..cluster.devices import Compute, Device
from ..config import TrainConfig
from ..training.step import Batch, TrainState, init_state, make_train_step

NETWORK = 12.5e9
"""Bytes/s in each direction between hosts: 100 Gb/s."""
# Code for this machine is the larger part of compiling, and is not run; the analysis comes before it.
_QUICKLY = {"xla_backend_optimization_level": 0}
_NO_KERNEL = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "partition-id", "replica-id"}


@dataclass(frozen=True)
class StepCost:
    """What one train step asks of each of the devices that share it."""

    devices: int
    flops: float
    """Of one device."""
    traffic: float
    """Bytes that a device reads and writes."""
    kernels: int
    memory: float
    """Bytes that a device holds: arguments, outputs and temporaries."""
    parameters: int
    """Number of weights."""
    state: int
    """Bytes of parameters, average and optimiser: one checkpoint."""
    compute: Compute = "float32"

    def on(self, devices: int) -> "StepCost":
        """Time as another number of devices sees it: all but reading and writing the state is shared."""
        rows = self.devices / devices
        fixed = min(2.0 * self.state, self.traffic)
        traffic = fixed + rows * (self.traffic - fixed)
        return replace(self, devices=devices, flops=rows * self.flops, traffic=traffic)

    def seconds(self, device: Device, hosts: int = 1) -> float:
        """A roofline: the slowest of arithmetic, memory and the start of kernels, then the gradients' sum.

        Arithmetic and memory add up where one thread does both.
        """
        needs = self.needs(device)
        link = device.interconnect if hosts == 1 else min(device.interconnect, NETWORK)
        gradients = 2 * (self.devices - 1) / self.devices * 4 * self.parameters / link
        work = needs.pop("kernels")
        return max(work, max(needs.values()) if device.overlaps else sum(needs.values())) + gradients

    def needs(self, device: Device) -> dict[str, float]:
        """Seconds that each kind of work in a step takes by itself."""
        return {
            "arithmetic": self.flops / device.peak(self.compute),
            "memory": self.traffic / device.bandwidth,
            "kernels": self.kernels * device.launch,
        }


@dataclass(frozen=True)
class Steps:
    """The train steps of experts that differ in their settings alone, by shapes: no array is made."""

    network: NetworkConfig
    objective: ObjectiveConfig
    train: TrainConfig
    shape: tuple[int, ...]
    """Of one frame."""
    molecules: Molecule | None = None

    def parts(self, config: ExpertConfig, steps: int) -> list[tuple[float, "Steps", ExpertConfig]]:
        """The kinds of step that an expert takes, without and with its consistency term, and their share."""
        start = round(self.objective.consistency_start * steps) / steps if config.consistency_weight else 1.0
        plain = (start, self, replace(config, consistency_weight=0.0))
        always = self
        if self.objective.consistency_start:
            always = replace(self, objective=replace(self.objective, consistency_start=0.0))
        return [part for part in (plain, (1 - start, always, config)) if part[0] > 0]

    def cost(self, config: ExpertConfig, devices: int) -> StepCost:
        """Of one step on a number of devices, compiled as each of them sees its rows."""
        key = (_alike(config), devices)
        if key not in self._known:
            self._known[key] = self._cost(*key)
        return self._known[key]

    def evaluation(self, config: ExpertConfig, rows: int) -> StepCost:
        """Of the score of so many configurations of one molecule at one time, on one device."""
        expert, parameters = Expert(config, self.network, self.shape), self._state(config).parameters
        molecule = jax.tree.map(lambda part: part[0], self.molecules)
        x, t = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((rows, *self.shape), ()))
        scores = jax.jit(jax.vmap(expert.score, in_axes=(None, 0, None, None)))
        lowered: Any = scores.lower(parameters, x, t, molecule)
        compiled = lowered.compile(compiler_options=_QUICKLY)
        analysis, held = compiled.cost_analysis(), compiled.memory_analysis()
        return StepCost(
            devices=1,
            flops=float(analysis["flops"]),
            traffic=float(analysis["bytes accessed"]),
            kernels=_kernels(compiled.as_text()),
            memory=float(held.argument_size_in_bytes + held.output_size_in_bytes + held.temp_size_in_bytes),
            parameters=sum(leaf.size for leaf in jax.tree.leaves(parameters)),
            state=0,
        )

    def waiting(self, devices: int, steps: int) -> float:
        """Bytes of the other batches that a device holds: those of its block, and the next block."""
        batch = self.train.batch_size / devices * 4 * (1 + prod(self.shape))
        return (2 * min(self.train.block, steps) - 1) * batch

    @cached_property
    def _known(self) -> dict[tuple[ExpertConfig, int], StepCost]:
        return {}

    def _cost(self, config: ExpertConfig, devices: int) -> StepCost:
        # The analysis counts the body of a loop once, as if the batch had the size of a part.
        rows, parts = self.train.batch_size // devices, self.train.accumulate
        compiled = self._lowered(config, rows, accumulate=1).compile(compiler_options=_QUICKLY)
        analysis, kernels = compiled.cost_analysis(), parts * _kernels(compiled.as_text())
        if parts > 1:
            compiled = self._lowered(config, rows, parts).compile(compiler_options=_QUICKLY)
        held = compiled.memory_analysis()
        memory = held.argument_size_in_bytes + held.output_size_in_bytes + held.temp_size_in_bytes
        parameters = sum(leaf.size for leaf in jax.tree.leaves(self._state(config).parameters))
        exchanged = 2 * 4 * parameters if devices > 1 else 0  # Its own gradient, and the mean.
        # The term is float32 in any case, and most of the work where there is one.
        reduced = self.objective.compute == "bfloat16" and not config.consistency_weight
        return StepCost(
            devices=devices,
            flops=float(analysis["flops"]),
            traffic=float(analysis["bytes accessed"]),
            kernels=kernels,
            memory=float(memory - held.alias_size_in_bytes + exchanged),
            parameters=parameters,
            state=sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(self._state(config))),
            compute="bfloat16" if reduced else "float32",
        )

    def _state(self, config: ExpertConfig) -> TrainState:
        expert = Expert(config, self.network, self.shape)
        return jax.eval_shape(partial(init_state, expert, self.train, 1), jax.random.key(0))

    def _lowered(self, config: ExpertConfig, rows: int, accumulate: int) -> Any:
        """The step of one device on its rows of a batch, before the compiler."""
        train = replace(self.train, batch_size=rows, accumulate=accumulate)
        expert = Expert(config, self.network, self.shape)
        step = make_train_step(expert, self.objective, train, 1, 1, self.molecules)
        frames: Any = jax.ShapeDtypeStruct((rows, *self.shape), jnp.float32)
        systems: Any = jax.ShapeDtypeStruct((rows,), jnp.int32)
        batch = Batch(frames, systems)
        key_shape = jax.eval_shape(lambda: jax.random.key(0))
        return jax.jit(step).lower(self._state(config), batch, key_shape)


def _alike(config: ExpertConfig) -> ExpertConfig:
    """The same for experts that differ in numbers and not in shapes, which run the same program."""
    return replace(config, interval=(0.0, 1.0), train_interval=None, midpoint=0.5, epochs=1)


def _kernels(program: str) -> int:
    """Operations of the compiled program, each of which starts a kernel."""
    entry = program[program.index("\nENTRY ") :]
    found = re.findall(r"^ .*? = .*? ([a-z][a-z-]*)\(", entry, flags=re.MULTILINE)
    return sum(operation not in _NO_KERNEL for operation in found)
