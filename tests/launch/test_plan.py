"""`fokker plan`: its numbers against closed forms, and what it says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fokker.data.dataset import shards
from fokker.distributed.cluster.devices import DEVICES
from fokker.distributed.planning.plan import Cluster, TrainingPlan, estimate
from fokker.distributed.planning.prediction import Steps
from fokker.distributed.planning.sharing import work
from fokker.distributed.planning.sizes import Sizes, sizes
from fokker.distributed.runs.config import Config, ConfigError, Recipe, from_dict, to_dict
from fokker.distributed.runs.presets import PRESETS
from fokker.distributed.runs.run import Run
from fokker.launch import plan as command
from fokker.launch.cli import main, parse
from fokker.launch.cli.plan import PlanArguments
from fokker.launch.plan import summary, to_json

from ..user import User

DEVICE = DEVICES["a100-80gb"]
MIXTURE = PRESETS["mueller-brown"]("mixture", "paper")
SINGLE = PRESETS["mueller-brown"]("diffusion", "paper")
FRAMES = 100_000
TOY = Sizes(FRAMES, (2,), None, "")
PAPER = Steps(MIXTURE.network, MIXTURE.objective, MIXTURE.train, TOY.shape)
"""Remembers what was compiled."""
STEPS = FRAMES // 128


def planned(*argv: str) -> PlanArguments:
    arguments = parse(("plan", *argv))
    assert isinstance(arguments, PlanArguments)
    return arguments


def changed(config: Config, **values) -> Config:
    """With other settings, by the names of their sections."""
    plain = to_dict(config)
    for section, parts in values.items():
        plain[section] |= parts
    return from_dict(plain)


def plan_of(config: Config, cluster: Cluster) -> TrainingPlan:
    """Of a run on the toy, by steps that are compiled once."""
    return estimate(Run(config, Path()).jobs, config.cluster.hosts, PAPER, FRAMES, cluster)


@pytest.fixture(scope="module")
def mixture() -> TrainingPlan:
    """The paper's three experts on four hosts of two devices."""
    return plan_of(MIXTURE, Cluster(4, 2, DEVICE))


def test_parameters_are_those_of_the_paper(mixture: TrainingPlan):
    (single,) = plan_of(SINGLE, Cluster(1, 1, DEVICE)).experts
    assert single.parameters == 17_849
    assert sum(expert.parameters for expert in mixture.experts) == 17_263


def test_steps_are_full_batches_of_every_epoch(mixture: TrainingPlan):
    assert [expert.steps for expert in mixture.experts] == [120 * STEPS, 30 * STEPS, 30 * STEPS]


def test_a_checkpoint_holds_four_floats_a_weight_and_three_counters(mixture: TrainingPlan):
    """Parameters, average and two moments; steps of the training, of Adam and of its schedule."""
    sizes_of = [16 * expert.parameters + 12 for expert in mixture.experts]
    assert [expert.checkpoint for expert in mixture.experts] == sizes_of
    assert mixture.checkpoints == 3 * sum(sizes_of)


def test_the_dearest_expert_has_two_hosts(mixture: TrainingPlan):
    assert [expert.hosts for expert in mixture.experts] == [2, 1, 1]
    assert [expert.devices for expert in mixture.experts] == [4, 2, 2]
    assert mixture.waits == 0
    assert "on 2 + 1 + 1 hosts" in dict(summary(mixture))["together"]


def test_times_and_hours_add_up(mixture: TrainingPlan):
    times = [expert.steps * expert.step_seconds for expert in mixture.experts]
    assert [expert.seconds for expert in mixture.experts] == times
    assert mixture.together == max(times)
    assert mixture.in_turn == sum(expert.seconds_on_all_hosts for expert in mixture.experts)
    assert mixture.together <= mixture.in_turn
    hours = [expert.hosts * 2 * time / 3600 for expert, time in zip(mixture.experts, times, strict=True)]
    assert mixture.device_hours == pytest.approx(sum(hours))


@pytest.mark.parametrize("recipe", ["fokker", "paper"])
@pytest.mark.parametrize(
    "preset",
    [
        "mueller-brown",
        pytest.param("alanine-dipeptide", marks=pytest.mark.long),
        pytest.param("dipeptides-small", marks=pytest.mark.long),
    ],
)
def test_work_that_hosts_are_shared_by_is_what_the_compiler_counts(
    preset: str, recipe: Recipe, tmp_path: Path
):
    """Within a third, of the dearest expert against the cheapest."""
    config = PRESETS[preset]("both", recipe)
    data, jobs = sizes(config, tmp_path), Run(config, tmp_path).jobs
    steps = Steps(config.network, config.objective, config.train, data.shape, data.molecules)
    counted = [
        job.expert.epochs
        * sum(part * kind.cost(own, 1).flops for part, kind, own in steps.parts(job.expert, 1000))
        for job in (jobs[0], jobs[-1])
    ]
    ratio = (work(jobs[0]) / work(jobs[-1])) / (counted[0] / counted[1])
    assert 0.7 < ratio < 1.4


def test_on_fewer_hosts_than_experts_some_wait():
    plan = plan_of(MIXTURE, Cluster(1, 2, DEVICE))
    first, second, third = plan.experts
    assert (first.start, plan.waits) == (0, 2)
    assert {second.start, third.start} > {first.seconds}
    assert plan.together == pytest.approx(plan.in_turn)
    assert "in rounds: 2 of 3 wait" in dict(summary(plan))["together"]


def test_hosts_are_those_of_the_settings():
    config = changed(MIXTURE, cluster={"hosts": [1, 2, 1]})
    assert [e.hosts for e in plan_of(config, Cluster(4, 2, DEVICE)).experts] == [1, 2, 1]
    with pytest.raises(ConfigError, match=r"cluster\.hosts: 8 is more than --hosts 4"):
        command.planned(changed(MIXTURE, cluster={"hosts": [8]}), TOY, Cluster(4, 2, DEVICE))


def test_says_which_expert_does_not_fit(mixture: TrainingPlan):
    largest = mixture.experts[1].memory  # The dearest has twice the devices.
    small = replace(DEVICE, name="toy", memory=(largest - 1) / DEVICE.share)
    plan = plan_of(MIXTURE, Cluster(4, 2, small))
    names = [expert.name for expert in plan.experts if not expert.fits]
    assert "0.1-0.6" in names
    problems = [text for name, text in summary(plan) if name == "memory"]
    assert len(problems) == len(names)
    for name, problem in zip(names, problems, strict=True):
        assert f"does not fit: expert {name} needs" in problem
        assert all(f"--{remedy}" in problem for remedy in ("devices-per-host", "train.accumulate"))
    assert to_json(plan, TOY)["fits"] is False
    assert dict(summary(mixture))["memory"].startswith("fits: ")


def test_sizes_of_the_toy_are_those_of_its_settings_or_data(tmp_path: Path):
    assert sizes(MIXTURE, tmp_path).frames == 100_000
    frames = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    shards.write(tmp_path / "data", {"name": "toy"}, {"train": frames})
    found = sizes(MIXTURE, tmp_path)
    assert (found.frames, found.shape, found.molecules) == (300, (2,), None)
    assert sizes(MIXTURE, tmp_path, frames=500).frames == 500
    with pytest.raises(ConfigError, match=r"train\.batch_size: 128 is larger than the data, 100 frames"):
        sizes(MIXTURE, tmp_path, frames=100)
    with pytest.raises(ConfigError, match="--beads"):
        sizes(MIXTURE, tmp_path, beads=5)


@pytest.mark.parametrize(
    ("preset", "kind", "frames", "beads", "systems"),
    [
        ("alanine-dipeptide", "equilibrium", 50_000, 5, 1),
        ("alanine-dipeptide", "biased", 60_000, 5, 1),
        ("dipeptides-small", "equilibrium", 40 * 2750, 10, 40),
    ],
)
def test_sizes_of_molecules_are_those_of_their_sequences(
    preset: str, kind: str, frames: int, beads: int, systems: int, tmp_path: Path
):
    """Of alanine dipeptide 60,000 biased frames are made, of which 50,000 of equilibrium are drawn."""
    found = sizes(changed(PRESETS[preset]("both", "fokker"), train={"frames": kind}), tmp_path)
    assert (found.frames, found.shape) == (frames, (beads, 3))
    assert found.molecules is not None
    assert found.molecules.features.shape == (systems, beads, 4)
    assert found.molecules.springs is not None
    assert found.molecules.springs.bonds.shape == (systems, beads - 1, 2)


def test_sizes_that_nothing_tells_have_to_be_given(tmp_path: Path):
    config = PRESETS["dipeptides"]("both", "fokker")
    with pytest.raises(ConfigError, match="--frames N and --beads N"):
        sizes(config, tmp_path)
    with pytest.raises(ConfigError, match="--frames N"):
        sizes(config, tmp_path, beads=10)
    found = sizes(config, tmp_path, frames=5000, beads=10)
    assert (found.frames, found.shape) == (5000, (10, 3))
    trajectories = changed(config, data={"path": "somewhere.xtc", "sequences": ["AC"]})
    with pytest.raises(ConfigError, match=r"somewhere\.xtc is no converted dataset: give --frames N"):
        sizes(trajectories, tmp_path)


def test_a_graph_transformer_is_planned_with_its_springs(tmp_path: Path):
    config = changed(
        PRESETS["alanine-dipeptide-small"]("score", "fokker"),
        network={"heads": 1, "head_width": 2},
        train={"optimiser": "adamw"},
    )
    config = replace(config, experts=(replace(config.experts[0], hidden=(4,)),))
    data = sizes(config, tmp_path)
    plan = command.planned(config, data, Cluster(1, 1, DEVICE))
    (expert,) = plan.experts
    assert expert.steps == config.experts[0].epochs * (data.frames // config.train.batch_size)
    assert expert.checkpoint == 16 * expert.parameters + 12
    assert expert.memory > 2 * expert.checkpoint


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        ("mueller-brown --device h100-80", ["--device: unknown 'h100-80' (did you mean h100-80gb?)", "a10g"]),
        ("mueller-brown --device a100", ["--device: unknown 'a100' (did you mean a100-40gb or a100-80gb?)"]),
        ("mueller-brown --device", ["--device needs a value, such as --device cpu"]),
        ("mueller-brown --hosts 0", ["--hosts: must be above 0, not '0'"]),
        ("mueller-brown --hosts 1.5", ["--hosts: must be a whole number, not '1.5'"]),
        ("mueller-brown --devices-per-host -1", ["--devices-per-host: must be above 0, not '-1'"]),
        ("mueller-brown --devices-per-host 3", ["128 cannot be shared equally by 1 × 3 devices"]),
        ("mueller-brown --train.accumulate 3", ["128 cannot be shared equally", "3 parts"]),
        ("mueller-brown --frames many", ["--frames: must be a whole number, not 'many'"]),
        ("mueller-brown --json plan.txt", ["--json: plan.txt has to end with .json"]),
        ("mueller-brown --device-per-host 2", ["did you mean --devices-per-host?"]),
        ("mueller", ["preset: unknown 'mueller' (did you mean mueller-brown?)"]),
        ("", ["name a preset (mueller-brown,"]),
    ],
)
def test_what_cannot_be_planned(argv: str, parts: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(("plan", *argv.split())) == 2
    error = capsys.readouterr().err
    assert error.startswith("fokker plan: error: ")
    assert error.count("\n") == 1
    assert all(part in error for part in parts), error


def test_options_and_settings_are_read_together():
    arguments = planned(
        *("mueller-brown", "--method", "mixture", "--hosts", "4", "--devices-per-host", "8"),
        *("--device", "a10g", "--train.batch-size", "256", "--frames", "5000"),
        *("--json", "plan.json", "--name", "wide"),
    )
    assert (arguments.hosts, arguments.config.cluster.devices_per_host, arguments.device) == (4, 8, "a10g")
    assert (arguments.frames, arguments.beads, arguments.json) == (5000, None, Path("plan.json"))
    assert (arguments.config.method, arguments.config.train.batch_size) == ("mixture", 256)
    assert arguments.directory == Path("runs/wide")
    plain = planned("mueller-brown", "--cluster.devices-per-host", "4")
    assert (plain.hosts, plain.config.cluster.devices_per_host, plain.device) == (1, 4, "cpu")


def test_help_has_the_options_of_a_plan(capsys: pytest.CaptureFixture[str]):
    for words in (["--help"], ["mueller-brown", "--help"]):
        assert main(("plan", *words)) == 0
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) <= 80
        assert all(f"\n  {name} " in text for name in ("--hosts", "--json", "--frames"))
        assert all(device in text for device in DEVICES)


def test_the_command_plans_for_this_machine(user: User):
    """Sharded over four devices, which the process makes up; nothing but the file is written."""
    result = user.run(
        *("plan", "mueller-brown", "--method", "mixture", "--name", "planned", "--json", "plan.json"),
        *("--hosts", "4", "--devices-per-host", "2"),
        *(f"--experts.{index}.hidden=8" for index in range(3)),
    )
    assert result.returncode == 0, result.stderr
    assert "one thread of this machine, calibrated here" in result.stdout
    assert "on 2 + 1 + 1 hosts" in result.stdout
    assert max(map(len, (line for line in result.stdout.splitlines() if " x " in line))) <= 80
    found = json.loads((user.home / "plan.json").read_text())
    assert [expert["devices"] for expert in found["experts"]] == [4, 2, 2]
    assert found["device"]["name"] == "cpu"
    assert found["fits"] is True
    assert found["frames"] == 100_000
    assert not (user.home / "runs" / "planned").exists()
