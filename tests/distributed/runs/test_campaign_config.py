"""The file of a campaign: what it may say, what is wrong with it in one line, and what may grow."""

from dataclasses import replace
from pathlib import Path

import pytest

from fokker.distributed.campaigns.assessment import Stop
from fokker.distributed.runs.campaign_config import CampaignConfig, Settings, load, require_growth
from fokker.distributed.runs.config import ConfigError, from_dict, to_dict
from fokker.model.config import SampleConfig

LEAST = "models: m\nreplicas: 4\nframes: 2\n"
JARGON = ("Input should", "Value should", "Keys should", "pydantic", "dictionary", "instance")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def test_the_least_that_a_file_says(file: Path):
    file.write_text(LEAST)
    assert load(file) == CampaignConfig(models=("m",), replicas=4, frames=2)
    assert load(file).settings == (Settings(),)
    assert load(file).settings[0].given == {}


def test_all_that_a_file_may_say(file: Path):
    file.write_text(
        "models: [runs/a, b.safetensors]\nsystems: [AC, ACE-ALA-NME, a.pdb]\nreplicas: 1_000\nframes: 20\n"
        "seeds: [0, 7]\nsettings:\n  - {}\n  - {timestep: 1e-3, friction: 0, integrator: langevin}\n"
        "start: data\nreference: d\nends_unless: finite\nlost_share: 0.5\nbatch: 50\nsegment: 10\n"
        "stop_when: {metric: pmf, error: 0.01, min_ess: null, rhat: 1.1, observable: x}\n"
    )
    found = load(file)
    assert (found.models, found.seeds) == (("runs/a", "b.safetensors"), (0, 7))
    assert (found.systems, found.replicas) == (("AC", "ACE-ALA-NME", "a.pdb"), 1000)
    assert found.settings[1].given == {"timestep": 1e-3, "friction": 0, "integrator": "langevin"}
    assert found.stop_when == Stop("pmf", 0.01, None, 1.1, "x")
    assert from_dict(to_dict(found), CampaignConfig) == found


def test_a_whole_number_may_be_written_with_a_point(file: Path):
    """As in the settings of a run."""
    file.write_text("models: m\nreplicas: 10.0\nframes: 20\nsettings: {burn_in: 0.0}\n")
    found = load(file)
    assert (found.replicas, found.frames, found.settings[0].burn_in) == (10, 20, 0)
    assert from_dict({"samples": 10_000.0}, SampleConfig).samples == 10_000


def test_one_of_several_needs_no_list(file: Path):
    file.write_text(LEAST + "systems: AC\nseeds: 3\nsettings: {friction: 2}\nbatch: null\n")
    assert load(file) == CampaignConfig(
        models=("m",), replicas=4, frames=2, systems=("AC",), seeds=(3,), settings=(Settings(friction=2),)
    )


@pytest.mark.parametrize(
    ("line", "field", "problem"),
    [
        ("frmaes: 2", "frmaes", "is not a setting"),
        ("1: 2", "1", "is not a setting"),
        ("null: 2", "None", "is not a setting"),
        ("frames: 3", "frames", "is there twice"),
        ("start: 3", "start", "must be text, not 3"),
        ("start:", "start", "must be text, not None"),
        ("systems:", "systems", "must be a list of values, not None"),
        ("systems: [AC, 12]", "systems.1", "must be text, not 12"),
        ("systems: [AC, AC]", "systems", "names one of them twice"),
        ("seeds: [0, 0]", "seeds", "names one of them twice"),
        ("seeds: -1", "seeds.0", "must be at least 0, not -1"),
        ("seeds: 4294967296", "seeds.0", "must be below 4294967296, not 4294967296"),
        ("settings: 3", "settings.0", "must be a group of settings, not 3"),
        ("settings: []", "settings", "must have 1 or more values, not []"),
        ("settings: [{}, {}]", "settings", "names one of them twice"),
        ("settings: {timestpe: 1}", "settings.0.timestpe", "is not a setting"),
        ("settings: {timestep: 1, timestep: 2}", "timestep", "is there twice"),
        ("settings: [{}, {timestep: -1}]", "settings.1.timestep", "must be above 0, not -1"),
        ("settings: {timestep: .nan}", "settings.0.timestep", "must be a finite number, not nan"),
        ("settings: {stride: 0}", "settings.0.stride", "must be above 0, not 0"),
        ("settings: {chunk: 4}", "settings.0.chunk", "is not a setting"),
        ("stop_when: yes", "stop_when", "must be a group of settings, not True"),
        ("stop_when: {metric: w1}", "stop_when.metric", "must be 'js' or 'pmf', not 'w1'"),
        ("stop_when: {rhat: 0.9}", "stop_when.rhat", "must be above 1, not 0.9"),
        ("stop_when: {error: none}", "stop_when.error", "must be a number, not 'none'"),
        ("lost_share: 2", "lost_share", "must be at most 1, not 2"),
        ("batch: 0", "batch", "must be above 0, not 0"),
        ("segment: 1.5", "segment", "must be a whole number, not 1.5"),
        ("batch: true", "batch", "must be a whole number, not True"),
        ("segment: yes", "segment", "must be a whole number, not True"),
        ("seeds: false", "seeds.0", "must be a whole number, not False"),
        ("seeds: [3, true]", "seeds.1", "must be a whole number, not True"),
        ("settings: {burn_in: off}", "settings.0.burn_in", "must be a whole number, not False"),
        ("settings: [{}, {timestep: on}]", "settings.1.timestep", "must be a number, not True"),
        ("lost_share: true", "lost_share", "must be a number, not True"),
        ("stop_when: {min_ess: true}", "stop_when.min_ess", "must be a number, not True"),
        ("ends_unless: fine", "ends_unless", "must be 'finite' or 'physical', not 'fine'"),
    ],
)
def test_a_wrong_line_is_named(file: Path, line: str, field: str, problem: str):
    file.write_text(f"{LEAST}{line}\n")
    with pytest.raises(ConfigError) as error:
        load(file)
    assert str(error.value) == f"{field}: {problem} (in {file})"
    assert error.value.field == field


@pytest.mark.parametrize("name", ["models", "replicas", "frames"])
def test_what_has_to_be_there(file: Path, name: str):
    file.write_text("".join(f"{line}\n" for line in LEAST.splitlines() if not line.startswith(name)))
    with pytest.raises(ConfigError, match=rf"^{name}: is missing \(in "):
        load(file)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("models: []", "models: must have 1 or more values, not []"),
        ("models: [m, m]", "models: names one of them twice"),
        ("models: {a: b}", "models.0: must be text, not {'a': 'b'}"),
        ("replicas: 0", "replicas: must be above 0, not 0"),
        ("replicas: many", "replicas: must be a whole number, not 'many'"),
        ("replicas: true", "replicas: must be a whole number, not True"),
        ("frames: yes", "frames: must be a whole number, not True"),
        ("frames: 2.5", "frames: must be a whole number, not 2.5"),
    ],
)
def test_what_has_to_be_there_and_is_wrong(file: Path, line: str, problem: str):
    name = line.partition(":")[0]
    others = [other for other in LEAST.splitlines() if not other.startswith(name)]
    file.write_text("\n".join([line, *others]))
    with pytest.raises(ConfigError) as error:
        load(file)
    assert str(error.value) == f"{problem} (in {file})"


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"- 1\n- 2\n", b"text", b"3"])
def test_a_file_that_names_nothing(file: Path, content: bytes):
    file.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load(file)
    assert str(error.value) == (
        f"{file} has to name models, replicas and frames, each in a line: name: value"
    )


@pytest.mark.parametrize(
    "content",
    [
        *(b"models: [", b"a: b: c", b"\x00\x01\xff\xfe", b"\xff\xfe\x00", b"a\x07b", b"[" * 50_000),
        *(b"[a]: 2", b"models: a\n---\nmodels: b\n", b"models: !!python/object:os.system x\n", b"<<: 3"),
        b"start: 2024-05-40",
    ],
)
def test_what_is_no_yaml_is_one_line(file: Path, content: bytes):
    file.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load(file)
    assert str(error.value).startswith(f"{file} is no YAML: ")
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(ConfigError) as error:
        load(tmp_path)
    assert str(error.value) == f"{tmp_path} cannot be read: is a directory"


def test_words_of_libraries_are_not_shown(file: Path):
    for line in ("1: 2", "models: []", "settings: []", "settings: 3", "systems: {a: b}", "stop_when: 3"):
        file.write_text(f"{line}\n" if line.startswith("models") else f"{LEAST}{line}\n")
        with pytest.raises(ConfigError) as error:
            load(file)
        assert not [word for word in JARGON if word in str(error.value)]


# Growth

MADE = CampaignConfig(
    models=("a",),
    replicas=4,
    frames=10,
    systems=("AC", "KF"),
    seeds=(0,),
    settings=(Settings(timestep=0.01),),
    batch=2,
)


@pytest.mark.parametrize(
    "changes",
    [
        *({}, {"replicas": 5}, {"frames": 11}, {"systems": ("AC", "KF", "GA")}, {"systems": ("KF", "AC")}),
        *({"systems": ("GA", "KF", "AC")}, {"seeds": (1, 0)}, {"models": ("a", "b")}, {"batch": None}),
        *({"settings": (Settings(timestep=0.01), Settings(friction=2))}, {"segment": None}),
        *({"reference": "d"}, {"stop_when": Stop()}, {"lost_share": 1.0}),
        {"replicas": 8, "frames": 20, "seeds": (0, 1), "models": ("a", "b")},
    ],
)
def test_a_campaign_grows(changes: dict):
    require_growth(MADE, replace(MADE, **changes))


@pytest.mark.parametrize(
    ("changes", "field", "was", "now"),
    [
        ({"replicas": 3}, "replicas", "4", "3"),
        ({"frames": 9}, "frames", "10", "9"),
        ({"systems": ("AC",)}, "systems", "AC, KF", "AC"),
        ({"systems": ("AC", "GA")}, "systems", "AC, KF", "AC, GA"),
        ({"seeds": (1,)}, "seeds", "0", "1"),
        ({"models": ("b", "a")}, "models", "a", "b, a"),
        ({"models": ("b",)}, "models", "a", "b"),
        ({"settings": (Settings(timestep=0.02),)}, "settings.0.timestep", "0.01", "0.02"),
        ({"settings": (Settings(),)}, "settings.0.timestep", "0.01", "none"),
        (
            {"settings": (Settings(timestep=0.01, friction=2.0),)},
            "settings.0.friction",
            "none",
            "2.0",
        ),
        (
            {"settings": (Settings(timestep=0.01, integrator="langevin"), Settings())},
            "settings.0.integrator",
            "none",
            "langevin",
        ),
        ({"start": "data"}, "start", "samples", "data"),
        ({"ends_unless": "finite"}, "ends_unless", "physical", "finite"),
        ({"batch": 4}, "batch", "2", "4"),
        ({"segment": 4}, "segment", "none", "4"),
    ],
)
def test_what_is_changed_is_refused_with_its_name(changes: dict, field: str, was: str, now: str):
    with pytest.raises(ConfigError) as error:
        require_growth(MADE, replace(MADE, **changes))
    assert error.value.field == field
    assert error.value.problem.startswith(
        f"the campaign was made with {was}, not {now}: take another --name for it; only "
    )
    assert "\n" not in str(error.value)


def test_settings_that_are_left_out_are_refused_by_their_number():
    made = replace(MADE, settings=(Settings(), Settings(timestep=0.01)))
    with pytest.raises(ConfigError) as error:
        require_growth(made, replace(MADE, settings=(Settings(),)))
    assert error.value.field == "settings"
    assert error.value.problem.startswith("the campaign was made with 2 of them, not 1 of them: ")
