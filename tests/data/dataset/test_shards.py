"""What is written comes back, and what is missing or damaged is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fokker.data.dataset import shards
from fokker.data.dataset.shards import MANIFEST, SYSTEM, Dataset, DatasetError

from ..conftest import PEPTIDES, peptide_frames, write_peptide

BEADS = np.random.default_rng(0).normal(size=(7, 4, 3)).astype(np.float32)
SOURCE = {"name": "beads", "units": "nm", "settings": {"seed": 3}}


def fingerprint(directory: Path, frames: np.ndarray = BEADS, source: dict[str, Any] = SOURCE) -> str:
    return shards.write(directory, source, {"train": frames}).fingerprint


@pytest.mark.parametrize("per_shard", [1, 3, 7, 100])
def test_frames_come_back_whatever_the_number_of_shards(tmp_path, monkeypatch, per_shard: int):
    monkeypatch.setattr(shards, "FRAMES_PER_SHARD", per_shard)
    shards.write(tmp_path, SOURCE, {"train": BEADS, "reference": BEADS[:2]})
    dataset = Dataset(tmp_path)
    train = dataset.split("train")
    assert (len(train), train.shape) == (7, (4, 3))
    assert len(list(tmp_path.glob("beads/train-*.npy"))) == len(train.shards) == -(-7 // per_shard)
    np.testing.assert_array_equal(train.read(), BEADS)
    np.testing.assert_array_equal(dataset.split("reference").read(), BEADS[:2])
    dataset.verify()


@pytest.mark.parametrize("per_shard", [1, 3, 100])
def test_gather_takes_frames_in_the_order_of_their_numbers(tmp_path, monkeypatch, per_shard: int):
    monkeypatch.setattr(shards, "FRAMES_PER_SHARD", per_shard)
    split = shards.write(tmp_path, SOURCE, {"train": BEADS}).split("train")
    # The last and the first frame of every shard, frames of one shard apart, and one twice.
    for numbers in ([6, 0, 3, 2, 5, 3], [4], list(range(7)), []):
        chosen = np.array(numbers, int)
        np.testing.assert_array_equal(split.gather(chosen), BEADS[chosen])


def test_gathered_frames_are_copies(make_dataset):
    split = make_dataset().split("train")
    split.gather(np.arange(3))[:] = 99
    np.testing.assert_array_equal(split.gather(np.arange(3)), [[0, 0], [1, -1], [2, -2]])


def test_frames_of_any_precision_and_order_are_stored_as_float32(tmp_path):
    frames = np.asfortranarray(BEADS.astype(np.float64))
    stored = shards.write(tmp_path, SOURCE, {"train": frames}).split("train").read()
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, BEADS)


def test_frames_stay_on_disk_until_they_are_read(make_dataset):
    assert all(isinstance(shard, np.memmap) for shard in make_dataset(per_shard=20).split("train").shards)


def test_manifest_describes_source_and_shards(make_dataset):
    manifest = make_dataset(per_shard=20).manifest
    assert manifest["source"] == {"name": "counting", "seed": 0}
    assert list(manifest["systems"]) == ["counting"]
    splits = manifest["systems"]["counting"]["splits"]
    files = {name: [e["file"] for e in entries] for name, entries in splits.items()}
    assert files == {
        "train": ["train-00000.npy", "train-00001.npy", "train-00002.npy"],
        "reference": ["reference-00000.npy", "reference-00001.npy"],
    }
    assert [entry["frames"] for entry in splits["train"]] == [20, 20, 10]


def test_fingerprint_is_that_of_the_content_and_not_of_the_place(tmp_path):
    first = fingerprint(tmp_path / "a")
    assert first == fingerprint(tmp_path / "b") == Dataset(tmp_path / "a").fingerprint
    assert len(first) == 64


def test_fingerprint_changes_with_one_coordinate_with_the_order_and_with_a_setting(tmp_path):
    nudged = BEADS.copy()
    nudged[3, 2, 1] = np.nextafter(nudged[3, 2, 1], np.float32(9))
    found = [
        fingerprint(tmp_path / "a"),
        fingerprint(tmp_path / "b", nudged),
        fingerprint(tmp_path / "c", BEADS[::-1]),
        fingerprint(tmp_path / "d", BEADS[:6]),
        fingerprint(tmp_path / "e", source=SOURCE | {"settings": {"seed": 4}}),
    ]
    assert len(set(found)) == 5


def test_a_directory_without_a_manifest_is_unfinished(tmp_path):
    with pytest.raises(DatasetError, match=r"manifest\.json is missing: .*never finished, make it again"):
        Dataset(tmp_path).split("train")


def test_frames_that_are_not_finite_are_named_and_nothing_is_finished(tmp_path):
    broken = BEADS.copy()
    broken[[2, 5, 6], [0, 3, 1], [2, 0, 1]] = np.nan, np.inf, -np.inf
    with pytest.raises(DatasetError, match=r"3 frames of reference are not finite, the first is 2"):
        shards.write(tmp_path, SOURCE, {"train": BEADS, "reference": broken})
    with pytest.raises(DatasetError, match="never finished"):
        Dataset(tmp_path).split("train")


def test_a_dataset_that_is_being_rewritten_has_no_manifest(tmp_path):
    fingerprint(tmp_path)
    with pytest.raises(DatasetError, match="not finite"):
        fingerprint(tmp_path, np.full_like(BEADS, np.nan))
    with pytest.raises(DatasetError, match="never finished"):
        Dataset(tmp_path).split("train")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"format": 1'])
def test_a_manifest_that_is_not_json_is_named(make_dataset, content: bytes):
    dataset = make_dataset()
    (dataset.directory / MANIFEST).write_bytes(content)
    with pytest.raises(DatasetError, match=r"manifest\.json is not JSON .*make the dataset again"):
        Dataset(dataset.directory).split("train")


@pytest.mark.parametrize(
    ("content", "found"), [("{}", "None"), ("[1]", "None"), ('{"format": 2}', "2"), ('{"format": "1"}', "1")]
)
def test_a_manifest_of_another_format_is_named(make_dataset, content: str, found: str):
    dataset = make_dataset()
    (dataset.directory / MANIFEST).write_text(content)
    with pytest.raises(DatasetError, match=rf"has format {found}, this version reads format 1"):
        Dataset(dataset.directory).split("train")


def test_a_split_that_is_not_there_is_named_with_those_that_are(make_dataset):
    with pytest.raises(DatasetError, match=r"no split 'test', only train, reference"):
        make_dataset().split("test")


def shard(dataset: Dataset) -> Path:
    return dataset.directory / "counting" / "train-00001.npy"


def test_a_missing_shard_is_named(make_dataset):
    dataset = make_dataset(per_shard=20)
    shard(dataset).unlink()
    for read in (lambda: dataset.split("train"), dataset.verify):
        with pytest.raises(DatasetError, match=r"train-00001\.npy .*make the dataset again"):
            read()
    assert len(dataset.split("reference")) == 25


@pytest.mark.parametrize("left", [0, 7, 100, 128, -1])
def test_a_shard_that_was_cut_short_is_named(make_dataset, left: int):
    """Empty, within the header, at its end, and within the last frame."""
    dataset = make_dataset(per_shard=20)
    shard(dataset).write_bytes(shard(dataset).read_bytes()[:left])
    with pytest.raises(DatasetError, match=r"train-00001\.npy cannot be read .*make the dataset again"):
        dataset.split("train")


def test_a_shard_of_another_length_is_named(make_dataset):
    dataset = make_dataset(per_shard=20)
    np.save(shard(dataset), np.zeros((19, 2), np.float32))
    with pytest.raises(DatasetError, match=r"train-00001\.npy holds 19 frames, its manifest says 20"):
        dataset.split("train")


def test_verify_names_the_first_shard_whose_content_changed(make_dataset):
    dataset = make_dataset(per_shard=20)
    dataset.verify()
    for number in (2, 1):
        path = dataset.directory / "counting" / f"train-0000{number}.npy"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=rf"train-0000{number}\.npy is not the file of the manifest"):
            dataset.verify()
    # Opening reads no frame, and so cannot see it.
    assert len(dataset.split("train")) == 50


def test_nothing_temporary_is_left(make_dataset):
    directory = make_dataset(per_shard=100).directory
    assert {path.name for path in directory.iterdir()} == {MANIFEST, "counting"}
    names = {path.name for path in (directory / "counting").iterdir()}
    assert names == {SYSTEM, "train-00000.npy", "reference-00000.npy"}


def test_systems_keep_the_order_of_the_manifest_and_their_descriptions(peptides):
    again = Dataset(peptides.directory)
    assert again.systems == ("AV", "GAV", "KF")
    assert [again.description(name) for name in again.systems] == [{"beads": n} for n in (2, 4, 3)]
    assert again.systems_of("train") == ("AV", "KF")
    assert again.systems_of("validation") == ("GAV",)
    again.verify()


def test_norm_is_that_of_the_source_or_one(peptides, make_dataset):
    assert Dataset(peptides.directory).norm == 2.5
    assert make_dataset().norm == 1


def test_a_split_of_one_system_holds_its_frames_alone(peptides):
    for name, (beads, splits) in PEPTIDES.items():
        for split, frames in splits.items():
            own = peptides.split(split, name)
            assert (len(own), own.shape) == (frames, (beads, 3))
            np.testing.assert_array_equal(own.read(), peptide_frames(name, split))
            number = peptides.systems.index(name)
            np.testing.assert_array_equal(own.system_of(np.arange(frames)), np.full(frames, number))


def test_trajectories_have_a_time_between_frames_where_all_have_the_same(tmp_path):
    def told(*known: tuple[int, float | None], split: str = "train") -> tuple[list[int], float | None]:
        entries = [{"name": "", "split": split, "frames": n, "spacing": spacing} for n, spacing in known]
        shards.write_system(tmp_path, "beads", {"trajectories": entries}, {"train": BEADS})
        return shards.finish(tmp_path, SOURCE, ["beads"]).trajectories("beads", "train")

    assert told((3, 0.5), (4, 0.5)) == ([3, 4], 0.5)
    assert told((6, 0.5), (1, None)) == ([6, 1], 0.5), "one frame has no time to another"
    assert told((3, 0.5), (4, 1.0)) == told((3, 0.5), (4, None)) == ([3, 4], None)
    unknown = [], None
    assert told((3, 0.5), (5, 0.5)) == told((7, 0.5), split="test") == unknown, "which are not these frames"
    assert shards.write(tmp_path, SOURCE, {"train": BEADS}).trajectories("beads", "train") == unknown


def test_a_split_knows_how_many_frames_each_of_its_systems_has(peptides):
    train = peptides.split("train")
    expected = tuple(splits["train"] for _, splits in PEPTIDES.values() if "train" in splits)
    assert train.frames_of_systems == expected
    assert sum(expected) == len(train)


def test_frames_of_all_systems_are_gathered_with_zeros_for_the_beads_they_lack(peptides):
    train = peptides.split("train")
    assert (len(train), train.shape) == (12, (3, 3))
    chosen = np.array([11, 0, 4, 5, 3, 5])
    two, three = peptide_frames("AV", "train"), peptide_frames("KF", "train")
    every = np.concatenate([np.pad(two, ((0, 0), (0, 1), (0, 0))), three])
    gathered = train.gather(chosen)
    assert gathered.dtype == np.float32
    np.testing.assert_array_equal(gathered, every[chosen])
    np.testing.assert_array_equal(train.system_of(chosen), [2, 0, 0, 2, 0, 2])


def test_every_shard_knows_the_number_of_its_system_in_the_dataset(peptides):
    """Frames 0 to 4 of the first system make two shards, 5 to 11 of the third make three."""
    assert peptides.split("train").systems == (0, 0, 2, 2, 2)
    assert peptides.split("validation").systems == (1, 1)


def test_systems_of_different_beads_are_not_read_as_one_array(peptides):
    with pytest.raises(ValueError, match="dimensions"):
        peptides.split("train").read()


@pytest.mark.parametrize(("split", "system"), [("train", "GAV"), ("train", "WW"), ("test", "AV")])
def test_a_split_that_a_system_lacks_is_named_with_the_system(peptides, split: str, system: str):
    with pytest.raises(DatasetError, match=rf"no split '{split}' of {system}"):
        peptides.split(split, system)


def test_a_split_that_no_system_has_is_named_with_those_that_are_there(peptides):
    for read in (peptides.split, peptides.systems_of):
        with pytest.raises(DatasetError, match="no split 'reference', only train, validation, test"):
            read("reference")


def test_a_dataset_is_not_finished_while_a_system_is_missing(tmp_path):
    write_peptide(tmp_path, "AV")
    with pytest.raises(DatasetError, match=r"KF/system\.json is missing: system KF was never finished"):
        shards.finish(tmp_path, {"name": "peptides"}, ["AV", "KF"])
    with pytest.raises(DatasetError, match=r"manifest\.json is missing"):
        Dataset(tmp_path).split("train")


def test_a_system_that_is_being_rewritten_is_not_finished(tmp_path):
    write_peptide(tmp_path, "AV")
    shards.finish(tmp_path, {"name": "peptides"}, ["AV"])
    broken = np.full((2, 2, 3), np.nan)
    with pytest.raises(DatasetError, match=r"AV: 2 frames of train are not finite, the first is 0"):
        shards.write_system(tmp_path, "AV", {}, {"train": broken})
    with pytest.raises(DatasetError, match="the dataset was never finished"):
        Dataset(tmp_path).split("train")
    with pytest.raises(DatasetError, match="system AV was never finished"):
        shards.finish(tmp_path, {"name": "peptides"}, ["AV"])


def test_fingerprint_changes_with_the_systems_their_order_and_their_descriptions(peptides):
    directory, source = peptides.directory, peptides.manifest["source"]

    def again(*systems: str) -> str:
        return shards.finish(directory, source, systems).fingerprint

    first, fewer, turned = peptides.fingerprint, again("AV", "KF"), again("KF", "GAV", "AV")
    shards.write_system(directory, "GAV", {"beads": 5}, {"validation": peptide_frames("GAV", "validation")})
    described = again(*PEPTIDES)
    write_peptide(directory, "GAV")
    assert again(*PEPTIDES) == first
    assert len({first, fewer, turned, described}) == 4


def test_verify_names_a_changed_shard_of_any_system(peptides):
    path = peptides.directory / "KF" / "test-00000.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(DatasetError, match=r"KF/test-00000\.npy is not the file of the manifest"):
        peptides.verify()
