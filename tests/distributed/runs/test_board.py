"""TensorBoard reads what is written for it, and a full disk ends it with one line or is no matter at all."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from fokker.data.files import FileError
from fokker.distributed.groups.events import Event
from fokker.distributed.runs import board
from fokker.distributed.runs.config import Config
from fokker.distributed.runs.presets import PRESETS
from fokker.distributed.runs.run import Run

PICTURE = np.random.default_rng(0).integers(256, size=(40, 60, 3), dtype=np.uint8)
THREE = PRESETS["mueller-brown"]("both", "fokker")
ONE = PRESETS["mueller-brown"]("two-for-one", "paper")


def read(directory: Path) -> EventAccumulator:
    events = EventAccumulator(str(directory))
    events.Reload()
    return events


def hparams(directory: Path) -> Mapping[str, bytes]:
    """What the HParams plugin is told of a run, by its tags."""
    return {
        tag.rpartition("/")[2]: data for tag, data in read(directory).PluginTagToContent("hparams").items()
    }


def test_tensorboard_reads_scalars_and_pictures_of_the_last_file(tmp_path: Path):
    for value in (0.5, 0.25):
        board.evaluated(Run(THREE, tmp_path), {"js_corrected/sim": value}, {"free_energy": PICTURE})
    events = read(tmp_path / "evaluate")
    assert [event.value for event in events.Scalars("js_corrected/sim")] == [0.5, 0.25]
    assert [(event.width, event.height) for event in events.Images("free_energy")] == [(60, 40)] * 2
    assert len([*(tmp_path / "evaluate").iterdir()]) == 2


def test_a_full_disk_is_one_line_and_leaves_nothing(small_disk: Path):
    noise = np.random.default_rng(0).integers(256, size=(1000, 1000, 3), dtype=np.uint8)
    with pytest.raises(FileError, match="cannot be written: no space left on device"):
        board.evaluated(Run(THREE, small_disk), {}, {"noise": noise})
    assert [*(small_disk / "evaluate").iterdir()] == []


@pytest.mark.parametrize("config", [THREE, ONE])
def test_hparams_reads_the_settings_that_people_vary(config: Config, tmp_path: Path):
    board.begun(Run(replace(config, seed=3), tmp_path))
    told = metadata.parse_session_start_info_plugin_data(hparams(tmp_path)["session_start_info"])
    read = {name: value.string_value or value.number_value for name, value in told.hparams.items()}
    assert read == board.hyperparameters(replace(config, seed=3))
    assert read["method"] == config.method
    assert read["seed"] == 3
    assert read["train.learning_rate"] == config.train.learning_rate
    assert read["experts.0.consistency_weight"] == config.experts[0].consistency_weight
    assert read["experts.0.hidden"] == ",".join(map(str, config.experts[0].hidden))


def test_every_run_has_the_columns_of_all_experts_those_that_differ_most_first(tmp_path: Path):
    told = []
    for name, config in (("three", THREE), ("one", ONE)):
        board.begun(Run(config, tmp_path / name))
        told.append(hparams(tmp_path / name)["experiment"])
    assert told[0] == told[1]
    columns = metadata.parse_experiment_plugin_data(told[0])
    assert {info.name for info in columns.hparam_infos} == board.hyperparameters(THREE).keys()
    assert [info.name for info in columns.hparam_infos if info.differs] == [*board.FIRST]
    metrics = {(info.name.group, info.name.tag) for info in columns.metric_infos}
    assert {("evaluate", "js_corrected/sim"), ("experts/2", "loss/denoising")} <= metrics


def test_a_run_is_running_until_it_is_trained(tmp_path: Path):
    run = Run(THREE, tmp_path)
    board.begun(run)
    assert "session_end_info" not in hparams(tmp_path)
    board.trained(run)
    told = metadata.parse_session_end_info_plugin_data(hparams(tmp_path)["session_end_info"])
    assert told.status == 1, "STATUS_SUCCESS"


def test_a_training_that_goes_on_with_other_settings_shows_those(tmp_path: Path):
    for seed in (0, 1):
        board.begun(Run(replace(THREE, seed=seed), tmp_path))
    told = metadata.parse_session_start_info_plugin_data(hparams(tmp_path)["session_start_info"])
    assert told.hparams["seed"].number_value == 1


def test_tensorboard_reads_when_and_why_a_group_was_lost(tmp_path: Path):
    run = Run(THREE, tmp_path)
    for event in (
        Event("saved", "0-0.1", "step 240", {"step": 240}),
        Event("lost", "0-0.1", "rank 0 of 1 was lost: killed", {"step": 250}),
        Event("stuck", "0-0.1", "did not save; rank 1 holds it up, at\nline 1\nline 2", {"step": 245}),
    ):
        event.append(tmp_path)
        board.happened(run, event)
    told = read(tmp_path).Tensors("0-0.1/text_summary")
    words = [event.tensor_proto.string_val[0].decode() for event in told]
    assert [event.step for event in told] == [1, 2]
    assert words[0] == "**lost** after step 250: rank 0 of 1 was lost: killed"
    assert words[1].endswith("holds it up, at\n```\nline 1\nline 2\n```")


def test_a_disk_that_is_full_is_no_matter_to_a_training(small_disk: Path):
    (small_disk / "filling").write_bytes(bytes(2**20))
    run = Run(THREE, small_disk)
    board.begun(run)
    board.trained(run)
    board.happened(run, Event("lost", "0-0.1", "killed"))
    assert [path.name for path in small_disk.iterdir()] == ["filling"]


def test_a_list_of_events_that_cannot_be_read_is_no_matter_to_a_training(tmp_path: Path):
    (tmp_path / "events.jsonl").mkdir()
    board.happened(Run(THREE, tmp_path), Event("lost", "0-0.1", "killed"))
