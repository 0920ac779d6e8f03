"""Which samples and which simulation of a run are judged, and what they were made from."""

from dataclasses import asdict, dataclass
from functools import cached_property

from ...analysis.results import MadeFrom, Part
from ...data.dataset.shards import MANIFEST, Dataset
from ...model.config import SampleConfig, SimulateConfig
from ..campaigns import pool
from ..campaigns.segments import Store
from ..campaigns.works import Sampling, Simulation
from .config import ConfigError, to_dict
from .results import Result, Results, Settings
from .run import SAMPLES, SIMULATION, Run, StageError


@dataclass(frozen=True)
class Chosen:
    """The samples and the simulation of a run that are judged."""

    run: Run
    samples: Result[SampleConfig]
    simulation: Result[SimulateConfig]

    @classmethod
    def of(cls, run: Run, stage: str) -> "Chosen":
        """Those that were asked for last, or those of `run.result`.

        StageError, in the name of a stage, if something of them is missing, or they are of different models.
        """
        if not (run.data / MANIFEST).exists():
            raise StageError(f"{stage}: {run.data} is not there, run `fokker data` first")
        samples = _choose(run.samples, run.result, SAMPLES, stage)
        simulation = _choose(run.simulations, run.result, SIMULATION, stage)
        if run.result not in (None, samples.number, simulation.number):
            known = f"samples {run.samples.numbers}, simulations {run.simulations.numbers}"
            raise ConfigError(f"{run.directory} has no result {run.result}, only {known}", "--result")
        chosen = cls(run, samples, simulation)
        parts = ((SAMPLES, chosen.sampling + chosen.training), (SIMULATION, chosen.simulated))
        for source, works in parts:
            for work in works:
                if path := pool.missing(work):
                    raise StageError(f"{stage}: {path} is missing, run `fokker {source}` first")
        if samples.origin != simulation.origin:
            raise StageError(
                f"{stage}: samples {samples.number} and simulation {simulation.number} are of different "
                f"models or data: run `fokker {SAMPLES}` and `fokker {SIMULATION}`, or choose with --result"
            )
        if samples.origin.data != Dataset(run.data).fingerprint:
            raise StageError(
                f"{stage}: samples and simulation were made from other data than {run.data}: run `fokker "
                f"train`, `fokker {SAMPLES}` and `fokker {SIMULATION}` with these"
            )
        return chosen

    @property
    def sampling(self) -> tuple[Sampling, ...]:
        """The samples of each system."""
        return self.run.sampling(self.samples)

    @property
    def training(self) -> tuple[Sampling, ...]:
        """The samples of a few systems of training, where others are judged."""
        return self.run.training_sampling(self.samples)

    @property
    def simulated(self) -> tuple[Simulation, ...]:
        """The simulation of each system."""
        return self.run.simulation(self.simulation)

    @property
    def current(self) -> bool:
        """Whether they are of the experts as they are now."""
        return self.run.trained and self.samples.origin == self.run.origin

    @cached_property
    def made_from(self) -> MadeFrom:
        """What metrics of them are metrics of."""
        parts = (
            (self.samples, self.sampling + self.training),
            (self.simulation, self.simulated),
        )
        samples, simulation = (
            Part(
                result.number,
                to_dict(result.settings),
                {work.system.name: Store(work.directory).sha256() for work in works},
            )
            for result, works in parts
        )
        umbrella = to_dict(self.run.config.umbrella)
        return MadeFrom(samples, simulation, asdict(self.samples.origin), umbrella)

    @property
    def words(self) -> str:
        """For people."""
        return f"samples {self.samples.number}, simulation {self.simulation.number}"


def _choose(results: Results[Settings], number: int | None, kind: str, stage: str) -> Result[Settings]:
    """The result of this number; the last one where none is given, or this kind has not so many."""
    last = results.last()
    if last is None:
        raise StageError(f"{stage}: {results.directory} holds no result, run `fokker {kind}` first")
    return last if number is None else results.numbered(number) or last
