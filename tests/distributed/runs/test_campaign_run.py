"""What is known of a campaign that goes on: verdicts on its rounds, and its results."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fokker.data.dataset import shards
from fokker.data.files import FileError, write_json
from fokker.distributed.campaigns.assessment import Stop
from fokker.distributed.runs.campaign import Batching, Campaign
from fokker.distributed.runs.campaign_config import CampaignConfig
from fokker.distributed.runs.campaign_run import (
    RESULTS,
    ROUNDS,
    Rounds,
    _condition,
    _known,
    read_results,
    rounds_of,
    stopped,
)
from fokker.distributed.runs.config import to_dict

FAILED = {100: ["ESS is low"], 200: [], 300: []}


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """A dataset that a toy is compared with."""
    path = tmp_path / "reference"
    shards.write(path, {"name": "mueller-brown"}, {"train": np.zeros((9, 2), np.float32)})
    return path


@pytest.fixture
def config(toy: Path, reference: Path) -> CampaignConfig:
    return CampaignConfig(
        models=(str(toy),), replicas=4, frames=6, reference=str(reference), stop_when=Stop()
    )


@pytest.fixture
def campaign(config: CampaignConfig, tmp_path: Path) -> Campaign:
    """One whose work was found to be enough."""
    found = Campaign.plan(tmp_path / "new", config).settle({"model": Batching(4, 3)})
    (work,) = found.works
    write_json(work.directory / ROUNDS, to_dict(Rounds(FAILED, *_condition(found, work))))
    return found


def test_a_work_is_enough_after_two_rounds(campaign: Campaign):
    (work,) = campaign.works
    assert rounds_of(campaign, work) == FAILED
    assert stopped(campaign, work) == 300


def test_a_verdict_holds_under_its_condition_alone(
    campaign: Campaign, config: CampaignConfig, reference: Path, toy: Path
):
    """Neither for another reference, nor more replicas, nor another condition; for longer ones it does."""
    other = reference.with_name("other")
    shards.write(other, {"name": "mueller-brown"}, {"train": np.ones((9, 2), np.float32)})
    elsewhere = reference.with_name("elsewhere")
    shutil.copytree(reference, elsewhere)
    for change, step in (
        ({"frames": 60, "lost_share": 1.0}, 300),
        ({"reference": str(elsewhere)}, 300),
        ({"reference": str(other)}, None),
        ({"reference": None}, None),
        ({"replicas": 8}, None),
        ({"stop_when": Stop(error=0.5)}, None),
        ({"stop_when": None}, None),
    ):
        grown = Campaign.plan(campaign.directory, replace(config, **change))
        assert stopped(grown, grown.works[0]) == step, change


@pytest.mark.parametrize("content", [[], {}, {"failed": {"a": []}}, {"failed": 3, "replicas": "x"}])
def test_what_is_no_verdict_is_none(campaign: Campaign, content):
    (work,) = campaign.works
    write_json(work.directory / ROUNDS, content)
    assert rounds_of(campaign, work) == {}


@pytest.mark.parametrize("content", ["", "{", "[]", "3", json.dumps({"format": 1, "works": {"a": 3}})])
def test_damaged_results_do_not_keep_a_campaign_from_making_them_again(campaign: Campaign, content: str):
    (campaign.directory / RESULTS).write_text(content)
    with pytest.raises(FileError) as error:
        read_results(campaign)
    assert "\n" not in str(error.value)
    assert _known(campaign) == {}
