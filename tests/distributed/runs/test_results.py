"""The list of a run's results: what is one result, what is another, and that none is lost."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fokker.distributed.runs.config import ConfigError
from fokker.distributed.runs.results import Origin, Results
from fokker.model.config import SampleConfig, SimulateConfig

SAMPLE = SampleConfig(samples=200, chunk=100)
SIMULATE = SimulateConfig(frames=400, chains=40, chunk=20)
ORIGIN = Origin("model", "data", 0, "train")


@pytest.fixture
def samples(tmp_path: Path) -> Results[SampleConfig]:
    return Results(tmp_path / "sample", SampleConfig)


@pytest.fixture
def simulations(tmp_path: Path) -> Results[SimulateConfig]:
    return Results(tmp_path / "simulate", SimulateConfig)


def numbers(results: Results) -> list[int]:
    return [result.number for result in results.all()]


def test_no_result_before_one_is_asked_for(samples: Results[SampleConfig]):
    assert samples.all() == []
    assert samples.last() is None
    assert not samples.directory.exists()


def test_the_same_settings_are_the_same_result(samples: Results[SampleConfig]):
    first = samples.ask(SAMPLE, ORIGIN)
    assert first.number == 1
    assert samples.ask(SAMPLE, ORIGIN) == first == samples.last()
    assert numbers(samples) == [1]


@pytest.mark.parametrize(
    "other", [{"evaluations": 7}, {"chunk": 50}, {"final_time": 1e-4}, {"solver": "euler-maruyama"}]
)
def test_other_settings_are_another_result(samples: Results[SampleConfig], other: dict):
    first = samples.ask(SAMPLE, ORIGIN)
    second = samples.ask(replace(SAMPLE, **other), ORIGIN)
    assert second.number == 2
    assert samples.all() == [first, second]
    assert samples.folder(first) != samples.folder(second)


def test_inner_steps_are_another_result_and_one_has_the_random_numbers_from_before_there_were_any(
    simulations: Results[SimulateConfig],
):
    first = simulations.ask(SIMULATE, ORIGIN)
    assert first.identity == "54a2f35a65ea067a6133e662ce2ab22852a93a54b4fe0a3ae5867711126f3c50"
    second = simulations.ask(replace(SIMULATE, inner_steps=4), ORIGIN)
    assert (second.number, second.identity == first.identity) == (2, False)


@pytest.mark.parametrize("field", ["model", "data", "split"])
def test_another_origin_is_another_result(samples: Results[SampleConfig], field: str):
    samples.ask(SAMPLE, ORIGIN)
    assert samples.ask(SAMPLE, replace(ORIGIN, **{field: "other"})).number == 2


def test_what_was_asked_for_last_is_the_last_of_the_list_and_keeps_its_number(
    samples: Results[SampleConfig],
):
    samples.ask(SAMPLE, ORIGIN)
    samples.ask(replace(SAMPLE, evaluations=7), ORIGIN)
    samples.ask(SAMPLE, ORIGIN)
    assert numbers(samples) == [2, 1]
    assert samples.ask(replace(SAMPLE, evaluations=8), ORIGIN).number == 3


def test_a_result_grows_and_never_shrinks(
    samples: Results[SampleConfig], simulations: Results[SimulateConfig]
):
    for asked, there in ((200, 200), (500, 500), (100, 500)):
        assert samples.ask(replace(SAMPLE, samples=asked), ORIGIN).settings.samples == there
    assert numbers(samples) == [1]
    for chains, each, there in ((40, 10, (40, 10)), (80, 5, (80, 10)), (20, 30, (80, 30))):
        asked = replace(SIMULATE, chains=chains, frames=chains * each)
        settings = simulations.ask(asked, ORIGIN).settings
        assert (settings.chains, settings.frames // settings.chains) == there
    assert numbers(simulations) == [1]


def test_what_was_made_before_training_peptides_were_sampled_has_none(samples: Results[SampleConfig]):
    first = samples.ask(SAMPLE, ORIGIN)
    content = json.loads((samples.directory / "results.json").read_text())
    del content["results"][0]["settings"]["training_peptides"]
    (samples.directory / "results.json").write_text(json.dumps(content))
    (read,) = samples.all()
    assert read.settings == replace(SAMPLE, training_peptides=0)
    assert read.identity == first.identity
    assert samples.ask(SAMPLE, ORIGIN) == first


def test_a_number_that_was_removed_is_not_on_the_list(samples: Results[SampleConfig]):
    samples.ask(SAMPLE, ORIGIN)
    samples.ask(replace(SAMPLE, evaluations=7), ORIGIN)
    samples.remove(1)
    assert numbers(samples) == [2]
    assert samples.numbered(1) is None


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', '{"format": 1, "results": [{"number": 1}]}'])
def test_a_damaged_list_is_one_line_that_names_it(samples: Results[SampleConfig], content: str):
    samples.directory.mkdir()
    (samples.directory / "results.json").write_text(content)
    with pytest.raises(ConfigError, match=r"sample/results\.json is damaged") as caught:
        samples.ask(SAMPLE, ORIGIN)
    assert "\n" not in str(caught.value)
    assert (samples.directory / "results.json").read_text() == content


def test_a_list_of_a_later_version_is_refused(samples: Results[SampleConfig]):
    samples.directory.mkdir()
    (samples.directory / "results.json").write_text('{"format": 99, "results": []}')
    with pytest.raises(ConfigError, match="format 99, this version reads 1"):
        samples.all()
