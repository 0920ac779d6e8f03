"""`model.safetensors` is read as it was written, and whatever is wrong with it is one line."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save as safetensors_bytes

from fokker.data import archive
from fokker.data.archive import Archive, ArchiveError, Description, shapes_of, system_of
from fokker.data.config import BOLTZMANN, MoleculesConfig, MuellerBrownConfig
from fokker.model.config import (
    ArchitectureConfig,
    DynamicsConfig,
    GraphTransformerConfig,
    MLPConfig,
    SamplerConfig,
)

EXPERTS = tuple(
    ArchitectureConfig(interval=interval, hidden=(8,), conservative=interval[0] == 0)
    for interval in ((0, 0.1), (0.1, 1))
)
NETWORK = GraphTransformerConfig(heads=2, head_width=4)
ABOUT = Description(
    experts=EXPERTS,
    network=NETWORK,
    sample=SamplerConfig(evaluations=8),
    simulate=DynamicsConfig(timestep=1e-3),
    norm=5.0,
    springs={"bonds": {"C0-N1": (2.0, 0.133, 1e-5)}, "angles": {}},
    **system_of(MoleculesConfig(temperature=310.0)),
)


def parameters(about: Description, size: int = 1) -> tuple:
    random, found = np.random.default_rng(0), []
    for expert in about.experts:
        own: dict = {}
        for name, shape in shapes_of(expert, about.network, size).items():
            *parents, last = name.split("/")
            place = own
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = random.normal(size=shape).astype(np.float32)
        found.append(own)
    return tuple(found)


MODEL = Archive(ABOUT, parameters(ABOUT))


def test_a_model_is_read_as_it_was_written(tmp_path: Path):
    path = tmp_path / archive.FILE
    archive.write(path, MODEL)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    found = archive.read(path)
    assert found.description == ABOUT
    assert isinstance(found.description.beads, dict)
    np.testing.assert_equal(found.parameters, MODEL.parameters)
    archive.write(tmp_path / "again", found)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert found.trained.kT == pytest.approx(BOLTZMANN * 310)


def test_a_model_of_a_toy_is_one_as_well(tmp_path: Path):
    about = replace(
        ABOUT, network=MLPConfig(), norm=1.0, springs=None, beads=None, **system_of(MuellerBrownConfig())
    )
    archive.write(tmp_path / archive.FILE, Archive(about, parameters(about, 2)))
    found = archive.read(tmp_path / archive.FILE)
    assert found.description == about
    bound = found.bind(None)
    assert bound.model.shape == (2,)
    assert (bound.model.kT, float(bound.mass)) == (23.0, 0.5)


def test_the_description_is_of_what_inference_needs_and_no_more(tmp_path: Path):
    def leaves(values) -> int:
        return sum(map(leaves, values.values())) if isinstance(values, dict) else 1

    archive.write(tmp_path / archive.FILE, MODEL)
    with safe_open(str(tmp_path / archive.FILE), framework="numpy") as file:
        about = json.loads(file.metadata()[archive.ABOUT])
    about["experts"] = about["experts"][0]
    about["beads"] = about["springs"] = None
    assert leaves(about) <= 32
    assert not {"epochs", "midpoint", "consistency_weight", "path", "seed", "cluster"} & {
        *json.dumps(about).split('"')
    }


def changed(path: Path, about: dict | None = None, **tensors: np.ndarray | None) -> Path:
    """The model's file with other metadata (None: without) and tensors."""
    archive.write(path, MODEL)
    with safe_open(str(path), framework="numpy") as file:
        metadata = dict(file.metadata())
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    first = next(iter(kept))
    renamed = {{"first": first}.get(name, name): value for name, value in tensors.items()}
    for old, new in ((metadata, about or {}), (kept, renamed)):
        old.update({name: value for name, value in new.items() if value is not None})
        for name in [name for name, value in new.items() if value is None]:
            del old[name]
    path.write_bytes(safetensors_bytes(kept, metadata))
    return path


def description(**changes) -> dict[str, str]:
    """Metadata with other values in the description."""
    values = {"format": 1} | archive._DESCRIPTION.dump_python(ABOUT, mode="json") | changes
    return {archive.ABOUT: json.dumps(values)}


@pytest.mark.parametrize(
    ("about", "tensors", "message"),
    [
        ({archive.ABOUT: None}, {}, "was written before models had a format: train again"),
        (
            description(format=9),
            {},
            "is of format 9, and this version reads up to 1: it needs a newer fokker",
        ),
        (description(format=0), {}, "has a damaged description: format 0"),
        (description(format="x"), {}, "has a damaged description: invalid literal for int"),
        ({archive.ABOUT: "{}"}, {}, "has a damaged description: 'format'"),
        ({archive.ABOUT: "{"}, {}, "has a damaged description: "),
        ({archive.ABOUT: "[1]"}, {}, "has a damaged description: "),
        (description(norm=-1.0), {}, "has a damaged description: norm: Input should be greater than 0"),
        (description(norm="nan"), {}, "has a damaged description: norm: "),
        (description(springs=[1]), {}, "has a damaged description: springs: "),
        (description(springs={"bonds": {"C0-N1": [1]}}), {}, "has a damaged description: springs.bonds"),
        (description(experts=[]), {}, "has a damaged description: "),
        (description(unknown=1), {}, "has a damaged description: unknown: "),
        ({}, {"7/x": np.zeros(2, "f4")}, "holds 7/x, but its description is of 2 experts"),
        ({}, {"x": np.zeros(2, "f4")}, "holds x, but its description is of 2 experts"),
        ({}, {"0/more": np.zeros(2, "f4")}, "more of expert 0 is 2, and its description asks for missing"),
        ({}, {"first": None}, "of expert 0 is missing, and its description asks for "),
        ({}, {"first": np.zeros((3, 5), "f4")}, "of expert 0 is 3 × 5, and its description asks for "),
    ],
)
def test_a_damaged_model_is_one_line(tmp_path: Path, about, tensors, message: str):
    path = changed(tmp_path / "damaged.safetensors", about, **tensors)
    with pytest.raises(ArchiveError, match=re.escape(message)) as error:
        archive.read(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_what_is_cut_short_or_no_model_is_one_line(tmp_path: Path):
    path = tmp_path / archive.FILE
    archive.write(path, MODEL)
    whole = path.read_bytes()
    for content in (
        b"",
        whole[:4],
        whole[:100],
        whole[: len(whole) // 2],
        whole[:-1],
        b"\x80\x04K\x01.",
        b"{}",
    ):
        path.write_bytes(content)
        with pytest.raises(ArchiveError, match=r"model\.safetensors is no model that fokker wrote") as error:
            archive.read(path)
        assert "\n" not in str(error.value)
    for missing in (tmp_path / "nothing", tmp_path):
        with pytest.raises(ArchiveError, match="is no model that fokker wrote"):
            archive.read(missing)


def test_an_earlier_format_goes_through_every_migration_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As if `norm` had been called `scale` and then `unit`."""

    def rename(old: str, new: str):
        return lambda values: {new if name == old else name: value for name, value in values.items()}

    values = archive._DESCRIPTION.dump_python(ABOUT, mode="json")
    monkeypatch.setattr(archive, "MIGRATIONS", (rename("scale", "unit"), rename("unit", "norm")))
    monkeypatch.setattr(archive, "FORMAT", 3)
    for number, name in ((1, "scale"), (2, "unit"), (3, "norm")):
        old = json.dumps({"format": number} | rename("norm", name)(values))
        path = changed(tmp_path / f"{number}.safetensors", {archive.ABOUT: old})
        assert archive.read(path).description == ABOUT
