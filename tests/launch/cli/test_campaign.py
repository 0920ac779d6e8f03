"""Campaigns as a user has them: run, run again, grown, stopped in every way, watched, judged, and wrong.

One cluster, one model and a few campaigns serve them all, hence the length.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from fokker.data.files import FileError
from fokker.data.trajectories import write_part
from fokker.distributed.campaigns.ledger import Ledger
from fokker.distributed.campaigns.segments import LEFT, Loss, Made, Segment, State, Store, summarise
from fokker.distributed.runs import campaign_tools
from fokker.distributed.runs.campaign import Batching, Campaign
from fokker.distributed.runs.campaign_config import CampaignConfig
from fokker.launch.cli import main

from ...campaigns import assert_same, digests, segments, works
from ...user import SECONDS, Result, User

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "format-1.safetensors"
"""Of molecules, with random parameters."""
MANY: dict[str, Any] = {
    "replicas": 8,
    "frames": 1000,
    "settings": {"stride": 20, "burn_in": 100, "timestep": 0.005},
    "batch": 4,
    "segment": 50,
    "lost_share": 1,
}
"""Two lanes of a burn-in and twenty segments: time to stop them. The model loses some replicas."""
FEW = MANY | {"frames": 40, "segment": 10, "settings": {"stride": 5, "burn_in": 10, "timestep": 0.005}}


@pytest.fixture(scope="module")
def host(guest: User, whole: tuple[Path, Result], tmp_path_factory: pytest.TempPathFactory) -> User:
    """At a cluster, in a folder of its own."""
    return replace(guest, home=tmp_path_factory.mktemp("campaigns"))


@pytest.fixture(scope="module")
def model(whole: tuple[Path, Result]) -> str:
    return str(whole[0])


def words(host: User, name: str, values: dict[str, Any], *more: str) -> list[str]:
    """The command of a campaign, whose file is written."""
    (host.home / f"{name}.yaml").write_text(json.dumps(values))  # JSON is YAML.
    return ["campaign", "run", f"{name}.yaml", *more]


def carried_out(host: User, name: str, values: dict[str, Any], *more: str) -> Path:
    result = host.run(*words(host, name, values, *more))
    assert result.returncode == 0, result.stderr
    return host.home / "campaigns" / name


def replicas(work: Path) -> dict[int, tuple[bytes, ...]]:
    """Of each replica its frames, and where it stands at the end, as bytes."""
    store, found = Store(work), {}
    for (first, count), lane in store.lanes.items():
        frames = np.concatenate([np.load(store.path(one))["trajectories"] for one in lane], axis=1)
        end = store.state(lane[-1])
        for place in range(count):
            found[first + place] = tuple(part[place].tobytes() for part in (frames, *end))
    return found


def seen(campaign: Path, count: int) -> Callable[[], bool]:
    return lambda: len(segments(campaign)) >= count


@pytest.fixture(scope="module")
def made(host: User, model: str) -> Path:
    """One that nothing disturbed."""
    return carried_out(host, "made", MANY | {"models": model})


@pytest.fixture(scope="module")
def few(host: User, model: str) -> Path:
    """A shorter one."""
    return carried_out(host, "few", FEW | {"models": model})


# Run, and run again


def test_what_would_run_is_said_and_nothing_written(host: User, model: str):
    before = {*host.home.rglob("*")}
    result = host.run(*words(host, "dry", FEW | {"models": model}, "--dry-run"))
    assert (result.returncode, result.stderr) == (0, "")
    assert "of 8 replicas, 40 frames each" in result.stdout
    assert "1,680 steps" in result.stdout
    assert {*host.home.rglob("*")} - before == {host.home / "dry.yaml"}


def test_what_lies_in_the_folder(few: Path):
    names = {path.name for path in few.iterdir()} - {".lock", "attempt.json"}
    assert names == {"campaign.json", "models", "whole", "results.json", "report.html", "board"}
    assert [work.relative_to(few) for work in works(few)] == [Path("whole/mueller-brown/0-0")]
    assert len(segments(few)) == 10
    results = json.loads((few / "results.json").read_text())
    (work,) = results["works"].values()
    assert (results["chains"], work["frames"] + round(work["missing"] * 320)) == (8, 320)
    assert 0 < work["mean"]["js"]["value"] < 0.6931472
    assert results["seconds"] > 0
    assert results["evaluations"] == 1680


def test_the_same_command_again_runs_nothing(host: User, model: str, few: Path):
    before, results = segments(few), json.loads((few / "results.json").read_text())
    result = host.run(*words(host, "few", FEW | {"models": model}))
    assert result.returncode == 0, result.stderr
    assert "0 of 10 segments to do" in result.stdout
    assert "\n          0 steps, 0 B" in result.stdout
    assert segments(few) == before
    again = json.loads((few / "results.json").read_text())
    assert again | {"when": ""} == results | {"when": ""}


@pytest.mark.long
def test_topped_up_in_two_steps_is_at_once(host: User, model: str, few: Path):
    """More replicas, which fill a batch, and longer ones."""
    given = FEW | {"models": model}
    grown = carried_out(host, "grown", given | {"replicas": 6, "frames": 15})
    before = segments(grown)
    assert carried_out(host, "grown", given) == grown
    assert segments(grown).items() >= before.items()
    (one,), (other,) = works(grown), works(few)
    assert replicas(one) == replicas(other)
    several = carried_out(host, "grown", given | {"seeds": [0, 1]})
    assert len(works(several)) == 2
    assert replicas(works(several)[0]) == replicas(other)
    assert replicas(works(several)[1]) != replicas(other)


def test_what_is_changed_is_refused_with_its_name(host: User, model: str, few: Path):
    before = segments(few)
    for change, name in (
        ({"settings": FEW["settings"] | {"timestep": 0.01}}, "settings.0.timestep"),
        ({"settings": FEW["settings"] | {"friction": 3}}, "settings.0.friction"),
        ({"replicas": 4}, "replicas"),
        ({"models": [str(GOLDEN)]}, "models"),
    ):
        result = host.run(*words(host, "few", FEW | {"models": model} | change))
        assert result.returncode == 2
        assert result.stderr.startswith(f"fokker: error: {name}: the campaign was made with ")
        assert result.stderr.count("\n") == 1
    assert segments(few) == before


# Stopped


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_is_stopped_goes_on(host: User, model: str, made: Path, number: signal.Signals):
    name = number.name.lower()
    campaign, command = host.home / "campaigns" / name, words(host, name, MANY | {"models": model})
    group = number == signal.SIGINT
    stopped = host.stop(command, number, seen(campaign, 8), group)
    assert stopped.returncode != 0
    before = segments(campaign)
    assert 8 <= len(before) < 42
    if number == signal.SIGINT:
        assert stopped.returncode == 130
        assert stopped.stdout.endswith(
            f"Interrupted; what was done is kept. Go on with:\n  fokker campaign run {name}.yaml\n"
        )
    assert host.run(*command).returncode == 0
    assert segments(campaign).items() >= before.items()
    assert_same(campaign, made)


@pytest.mark.long
def test_it_is_watched_and_cancelled_from_another_terminal(host: User, model: str, made: Path):
    slow = MANY | {"models": model, "frames": 100_000}
    campaign, command = host.home / "campaigns" / "slow", words(host, "slow", slow)
    process = host.start(command)
    try:
        until = time.monotonic() + SECONDS
        while not seen(campaign, 8)():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.01)
        elsewhere = replace(host, home=host.home.parent)
        status = elsewhere.run("campaign", "status", str(campaign))
        assert (status.returncode, status.stderr) == (0, "")
        assert "mueller-brown" in status.stdout
        assert "/4002 " in status.stdout
        busy = host.run(*command)
        assert busy.returncode == 1
        assert busy.stderr.endswith("another fokker is at work on it; wait for it, or take another --name\n")
        cancelled = elsewhere.run("campaign", "cancel", str(campaign))
        assert (cancelled.returncode, cancelled.stderr) == (0, "")
        _, err = process.communicate(timeout=120)
        assert process.returncode == 1
        assert "another fokker has begun on it" in err
        assert err.count("\n") == 1
    finally:
        process.kill()
    again = host.run("campaign", "cancel", str(campaign))
    assert again.returncode == 2
    assert again.stderr == f"fokker: error: nobody is at work on {campaign}\n"
    kept = digests(campaign)
    assert kept
    assert {name: digest for name, digest in digests(made).items() if name in kept} == {
        name: digest for name, digest in kept.items() if name in digests(made)
    }


# Verified


def tampered(store: Store, segment: Segment, **changes: np.ndarray) -> None:
    """Write a segment with something else in it, whole and with the checksums of its archive."""
    with np.load(store.path(segment)) as file:
        arrays = {name: file[name] for name in file.files} | changes
    np.savez(store.path(segment), allow_pickle=False, **arrays)


@pytest.mark.long
def test_segments_are_verified(host: User, few: Path, tmp_path: Path):
    result = host.run("campaign", "verify", str(few), "--count", "10")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("the same") == 10
    assert "differ" not in result.stdout
    (work,) = works(few)
    store = Store(work)
    segment = next(one for one in store.segments if one.begin > 10)
    good = store.path(segment).read_bytes()
    frames = np.load(store.path(segment))["trajectories"]
    try:
        other = np.nextafter(frames, np.float32(1000))
        tampered(store, segment, trajectories=other)  # The hash stays.
        result = host.run("campaign", "verify", str(few), "--count", "10")
        assert (result.returncode, result.stdout.count("differ")) == (1, 1), result.stderr
        made = Store.digest_of(_made(other, store.state(segment)))
        tampered(store, segment, sha256=np.array(made))
        result = host.run("campaign", "verify", str(few), "--count", "10")
        assert (result.returncode, result.stdout.count("differ")) == (1, 1), result.stderr
        store.path(segment).write_bytes(good[:1000])
        result = host.run("campaign", "verify", str(few), "--count", "10")
        assert result.returncode == 1
        assert segment.name in result.stderr
        assert result.stderr.count("\n") == 1
    finally:
        store.path(segment).write_bytes(good)


def _made(frames: np.ndarray, end: State) -> Made:
    return Made(frames, np.zeros((2, *frames.shape[:2])), end)


# Lost replicas


@pytest.fixture(scope="module")
def lossy(host: User, model: str) -> tuple[Path, Result]:
    """Of a step with which replicas leave the range, more than the campaign allows."""
    settings = {"stride": 5, "burn_in": 0, "timestep": 0.01}
    values = FEW | {"models": model, "lost_share": 0.05, "settings": settings}
    result = host.run(*words(host, "lossy", values))
    return host.home / "campaigns" / "lossy", result


def lost(campaign: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for work in works(campaign)
        for line in (work / "failures.jsonl").read_text().splitlines()
    ]


@pytest.mark.long
def test_a_campaign_that_loses_too_much_fails_with_its_results(lossy: tuple[Path, Result]):
    campaign, result = lossy
    assert result.returncode == 1
    assert result.stderr.startswith(
        "fokker: error: 1 of 1 systems lost more than 5% of their frames (lost_share): mueller-brown; "
    )
    assert result.stderr.count("\n") == 1
    (work,) = json.loads((campaign / "results.json").read_text())["works"].values()
    assert work["missing"] > 0.05
    assert work["lost"] == {"left the physical range": len(lost(campaign))}
    assert (campaign / "report.html").exists()


@pytest.mark.long
def test_status_lists_what_was_lost(host: User, lossy: tuple[Path, Result]):
    result = host.run("campaign", "status", str(lossy[0]))
    assert (result.returncode, result.stderr) == (0, "")
    rows = [line.split() for line in result.stdout.splitlines() if "chain lost" in line]
    assert [row[0] for row in rows] == [str(number) for number in range(1, len(lost(lossy[0])) + 1)]
    assert [row[4:6] for row in rows] == [[str(one["chain"]), str(one["step"])] for one in lost(lossy[0])]
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


@pytest.mark.long
def test_a_replay_shows_every_step_to_the_bad_one(host: User, lossy: tuple[Path, Result]):
    campaign = lossy[0]
    number, one = max(enumerate(lost(campaign), 1), key=lambda pair: pair[1]["step"])
    segment = Segment.of(one["segment"])
    assert segment is not None
    result = host.run("campaign", "replay", str(campaign), str(number))
    assert result.returncode == 0, result.stderr
    frames = np.load(campaign / f"failure-{number}.npy")
    assert frames.shape == (one["step"] + 1 - segment.begin, 2)
    inside = [-4 <= x <= 2 and -2 <= y <= 4 for x, y in frames.tolist()]
    assert inside == [True] * (len(frames) - 1) + [False]
    store = Store(works(campaign)[0])
    kept = np.load(store.path(segment))["trajectories"][one["chain"] - segment.first]
    there = [step for step in range(segment.begin + 5, one["step"] + 1, 5)]
    for place, step in enumerate(there):
        np.testing.assert_array_equal(kept[place], frames[step - segment.begin - 1])


@pytest.mark.long
def test_a_failure_that_is_not_there_is_one_line(host: User, lossy: tuple[Path, Result]):
    campaign = lossy[0]
    result = host.run("campaign", "replay", str(campaign), "99")
    assert result.returncode == 2
    count = len(lost(campaign))
    assert result.stderr == (
        f"fokker: error: FAILURE: {campaign} has {count} failures, as its status lists them\n"
    )


# Ended when it is enough


@pytest.mark.long
def test_it_stops_on_complete_rounds_whatever_the_actors_and_goes_on_when_asked_more(host: User, model: str):
    values = MANY | {"models": model, "ends_unless": "finite", "replicas": 12, "frames": 2000}
    easy = values | {"stop_when": {"error": None, "min_ess": 12, "rhat": None}}
    one = carried_out(host, "one", easy, "--cluster.simulators", "1")
    three = carried_out(host, "three", easy, "--cluster.simulators", "3")
    assert digests(one) == digests(three)
    assert (works(one)[0] / "rounds.json").read_bytes() == (works(three)[0] / "rounds.json").read_bytes()
    rounds = json.loads((works(one)[0] / "rounds.json").read_text())
    steps = sorted(map(int, rounds["failed"]))
    enough = [rounds["failed"][str(step)] == [] for step in steps]
    assert enough[-2:] == [True, True]
    assert [True, True] not in [enough[at : at + 2] for at in range(len(enough) - 2)]
    assert steps[-1] < 100 + 2000 * 20
    assert {lane[-1].end for lane in Store(works(one)[0]).lanes.values()} == {steps[-1]}
    before = segments(one)
    again = host.run(*words(host, "one", easy))
    assert again.returncode == 0
    assert f"enough after {steps[-1]:,} steps" in again.stdout
    assert segments(one) == before
    strict = values | {"stop_when": {"error": None, "min_ess": 1e6, "rhat": None}}
    carried_out(host, "one", strict)
    assert segments(one).items() > before.items()
    assert {lane[-1].end for lane in Store(works(one)[0]).lanes.values()} == {100 + 2000 * 20}


# Exported


@pytest.mark.long
def test_a_toy_is_exported_as_arrays(host: User, few: Path):
    result = host.run("campaign", "export", str(few), "--states")
    assert (result.returncode, result.stderr) == (0, "")
    out = few / "trajectories" / "mueller-brown"
    assert {path.name for path in out.iterdir()} == {"frames.npy", "states.npz"}
    frames = np.load(out / "frames.npy")
    store = Store(works(few)[0])
    every = [np.load(store.path(segment))["trajectories"].reshape(-1, 2) for segment in store.segments]
    kept = np.concatenate(every)
    np.testing.assert_array_equal(frames, kept[np.isfinite(kept).all(axis=1)])
    with np.load(out / "states.npz") as states:
        assert {name: states[name].shape for name in states.files} == {
            "position": (8, 2),
            "velocity": (8, 2),
            "steps": (8,),
            "left": (8,),
        }


@pytest.mark.long
def test_molecules_are_grown_and_exported_for_other_programs(host: User):
    start = np.random.default_rng(0).normal(0, 0.15, (4, 10, 3)).astype(np.float32)
    np.save(host.home / "start.npy", start)
    values = {
        "models": str(GOLDEN),
        "systems": ["AC", "KF"],
        "replicas": 4,
        "frames": 6,
        "settings": {"stride": 5, "timestep": 0.0005},
        "start": "start.npy",
        "ends_unless": "finite",
        "batch": 2,
        "segment": 3,
    }
    at_once = carried_out(host, "at-once", values)
    carried_out(host, "steps", values | {"systems": ["AC"], "frames": 3})
    steps = carried_out(host, "steps", values)
    assert digests(at_once) == digests(steps)
    out = host.home / "exported"
    result = host.run("campaign", "export", str(at_once), "--out", str(out), "--states")
    assert (result.returncode, result.stderr) == (0, "")
    for name in ("AC", "KF"):
        own = sorted(path.name for path in (out / name).glob("*.xtc"))
        assert own == [f"replica-{number:05d}.xtc" for number in range(4)]
        store = Store(at_once / "format-1" / name / "0-0")
        for number, path in enumerate(own):
            pdb = (out / name / path).with_suffix(".pdb")
            found: Any = mdtraj.load(str(out / name / path), top=str(pdb))
            np.testing.assert_allclose(found.time, np.arange(1, 7) * 5 * 0.0005, rtol=1e-5)
            lane = store.lanes[number // 2 * 2, 2]
            parts = [np.load(store.path(one))["trajectories"][number % 2] for one in lane]
            np.testing.assert_allclose(found.xyz, np.concatenate(parts), atol=1e-3)
        with np.load(out / name / "states.npz") as states:
            assert states["position"].shape == (4, 10, 3)
            assert states["steps"].tolist() == [30] * 4


# Wrong words


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["run", "missing.yaml"], "missing.yaml is no file: name the YAML file of a campaign"),
        (["run", "."], ". is no file: name the YAML file of a campaign"),
        (["run", "mine.yaml", "--name", "a/b"], "a/b"),
        (["run"], "FILE"),
        *(
            ([word, "missing", *more], "missing is not the folder of a campaign: campaign.json is missing")
            for word, more in (
                *(("status", []), ("cancel", []), ("verify", [])),
                *(("replay", ["1"]), ("export", [])),
            )
        ),
        (["replay", "made", "none"], "none"),
        (["verify", "made", "--count", "0"], "0"),
    ],
)
def test_wrong_words_are_one_line(
    given: list[str],
    problem: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("models: m\nreplicas: 2\nframes: 2\n")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "campaign.json").touch()
    assert main(["campaign", *given]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert problem in err
    assert {path.name for path in tmp_path.rglob("*")} == {"mine.yaml", "made", "campaign.json"}


def test_a_wrong_file_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for content in ("models: m\nreplicas: 2\nframes: 2\n", "models: m\nreplicas: 2\n", "models: [", ""):
        (tmp_path / "mine.yaml").write_text(content)
        for more in ([], ["--dry-run"]):
            assert main(["campaign", "run", "mine.yaml", *more]) == 2
            out, err = capsys.readouterr()
            assert (out, err.count("\n")) == ("", 1)
            assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


# Folders that are half made, or damaged

COMMANDS = (["status"], ["verify"], ["replay", "1"], ["export"], ["cancel"])


@pytest.fixture
def peptide(tmp_path: Path) -> Path:
    """A campaign of one peptide that nobody has begun to compute."""
    config = CampaignConfig(models=(str(GOLDEN),), replicas=2, frames=4, systems=("KF",))
    planned = Campaign.plan(tmp_path / "peptide", config)
    planned.settle({"format-1": Batching(2, 2)})
    return tmp_path / "peptide"


def begun(peptide: Path) -> tuple[Store, list[Segment]]:
    """Its segments, made up; in the last a replica is lost."""
    (work,) = Campaign.read(peptide).works
    store, segments, step = Store(work.directory), [], 0
    while (segment := work.following(0, 2, step)) is not None:
        steps = np.asarray(work.frame_steps(segment), int)
        frames = np.random.default_rng(step).normal(0, 0.1, (2, len(steps), 10, 3)).astype(np.float32)
        end = State(frames[:, -1], frames[:, -1], np.full(2, segment.end), np.zeros(2, bool))
        lost = (Loss(1, segment.begin + 3, LEFT),) if segment.end == work.length else ()
        made = Made(frames, np.ones((2, 2, len(steps))), end, losses=lost)
        ends = write_part(frames.reshape(-1, 10, 3), store.xtc(segment), np.tile(steps, 2), 0.001, 2)
        summary, reduction = summarise(made, segment, work.system, 100, 1.0)
        store.commit(segment, made, summary, reduction, ends)
        Ledger(store).add(segment, summary, [*lost])
        segments, step = [*segments, segment], segment.end
    return Store(work.directory), segments


def state_of(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def refused(folder: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Status, and the one line that a command says of a folder in which it changes nothing."""
    before = state_of(folder)
    status = main(["campaign", words[0], str(folder), *words[1:]])
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), "Traceback" in err) == ("", 1, False), (words, out, err)
    assert state_of(folder) == before, words
    return status, err


def test_what_nobody_has_begun_has_nothing_to_show(peptide: Path, capsys: pytest.CaptureFixture[str]):
    nothing = f"{peptide} has no segments yet: fokker campaign run computes them\n"
    for words, status, problem in (
        (["verify"], 1, nothing),
        (["export"], 1, nothing),
        (["export", "--states"], 1, nothing),
        (["replay", "1"], 2, f"FAILURE: {peptide} has 0 failures, as its status lists them\n"),
        (["cancel"], 2, f"nobody is at work on {peptide}\n"),
    ):
        assert refused(peptide, words, capsys) == (status, f"fokker: error: {problem}")
    assert main(["campaign", "status", str(peptide)]) == 0
    assert "0/" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": 1}', '{"format": 2}', '{"format": 1, "config": 3, "batching": {}}']
)
def test_a_damaged_campaign_is_one_line(peptide: Path, content: str, capsys: pytest.CaptureFixture[str]):
    begun(peptide)
    (peptide / "campaign.json").write_text(content)
    for words in COMMANDS:
        status, err = refused(peptide, words, capsys)
        assert (status, "campaign.json" in err) == ((2, False) if words == ["cancel"] else (1, True))


@pytest.mark.parametrize("batching", [{"batch": "x", "segment": 3}, {"batch": 0, "segment": 3}, 3, None])
def test_a_batch_that_is_none_is_damage(peptide: Path, batching, capsys: pytest.CaptureFixture[str]):
    path = peptide / "campaign.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"batching": {"format-1": batching}}))
    status, err = refused(peptide, ["status"], capsys)
    assert status == 1
    assert "batching.format-1" in err


def test_a_damaged_copy_is_one_line(peptide: Path, capsys: pytest.CaptureFixture[str]):
    begun(peptide)
    (kept,) = (peptide / "models").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    for words in COMMANDS[:-1]:
        status, err = refused(peptide, words, capsys)
        assert (status, str(kept) in err) == (2, True)


def test_files_that_are_gone_are_one_line(
    peptide: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """The copy, and what was copied."""
    begun(peptide)
    path = peptide / "campaign.json"
    path.write_text(path.read_text().replace(str(GOLDEN), str(peptide / "format-1.safetensors")))
    for kept in (peptide / "models").iterdir():
        kept.unlink()
    for words in COMMANDS[:-1]:
        status, err = refused(peptide, words, capsys)
        assert (status, "models.0: " in err) == (2, True)


def test_damaged_segments_are_one_line(peptide: Path, capsys: pytest.CaptureFixture[str]):
    store, segments = begun(peptide)
    path = store.path(segments[-1])
    good = path.read_bytes()
    for content in (b"", good[: len(good) // 2]):
        path.write_bytes(content)
        for words in (["status"], ["export"], ["export", "--states"]):
            status, err = refused(peptide, words, capsys)
            assert (status, segments[-1].name in err) == (1, True)
    path.write_bytes(good)
    xtc = store.xtc(segments[0])
    for content in (None, b"", xtc.read_bytes()[:-1]):
        xtc.unlink() if content is None else xtc.write_bytes(content)
        status, err = refused(peptide, ["export"], capsys)
        assert (status, xtc.name in err) == (1, True)


def test_a_replica_cannot_be_shown_without_where_it_stood(peptide: Path, capsys: pytest.CaptureFixture[str]):
    store, segments = begun(peptide)
    status, err = refused(peptide, ["replay", "1", "--out", str(peptide / "mine.npy")], capsys)
    assert (status, "mine.npy has to end with .xtc" in err) == (2, True)
    store.path(segments[0]).unlink()
    with pytest.raises(FileError, match="the segment before it is gone"):
        campaign_tools.before_of(Store(store.directory), segments[-1])


def test_damaged_notes_are_passed_over(peptide: Path, capsys: pytest.CaptureFixture[str]):
    """What files say is told all the same."""
    store, _ = begun(peptide)
    for name in ("ledger.jsonl", "failures.jsonl"):
        path = store.directory / name
        path.write_text('3\n[]\n{}\n"text"\n{"event": "done"}\nnull\n\0\0\n' + path.read_text())
    (peptide / "attempt.json").write_text("[]")
    assert refused(peptide, ["cancel"], capsys)[0] == 2
    assert main(["campaign", "status", str(peptide)]) == 0
    assert "chain lost" in capsys.readouterr().out
    assert main(["campaign", "export", str(peptide), "--out", str(peptide / "out")]) == 0
    assert len([*(peptide / "out" / "KF").glob("*.xtc")]) == 2


# Thousands

MEASURED = """
import os, resource, sys
from fokker.launch.cli import main
status = main()
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr, flush=True)
os._exit(status)
"""


@pytest.mark.long
def test_a_driver_of_thousands_needs_no_more_memory_than_one_of_hundreds(host: User, model: str):
    """In KB; of two processes, so that neither has what the other had."""
    peaks = {}
    for count in (200, 2000):
        values = {"models": model, "replicas": count, "frames": 4, "batch": 50, "segment": 2}
        name = f"of-{count}"
        command = words(host, name, values | {"settings": {"stride": 2, "burn_in": 0}, "lost_share": 1})
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *command, "--cluster.simulators", "2"],
            cwd=host.home,
            env=host.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        peaks[count] = int(done.stderr.split("PEAK")[1])
        results = json.loads((host.home / "campaigns" / name / "results.json").read_text())
        assert results["chains"] == count
    assert peaks[2000] <= 1.1 * peaks[200], peaks
