"""The weights of φ are those of the frames, in parts of time; reports of one molecule are read together."""

import json
from math import pi
from pathlib import Path

import numpy as np
import pytest

from fokker.data.molecules.residues import MoleculeError
from fokker.data.reference import profiles
from fokker.data.reference.profiles import BINS, PARTS


def test_every_frame_counts_by_its_weight_in_its_bin_and_its_part():
    phi = np.array([-pi, -1e-6, 1e-6, pi, 0.5, 0.5, 0.5, 0.5])
    found = profiles.weigh(phi, np.arange(1.0, 9.0))
    assert found.shape == (PARTS, BINS)
    half, place = BINS // 2, int((0.5 + pi) / (2 * pi) * BINS)
    assert [int(row.argmax()) for row in found] == [0, half - 1, half, BINS - 1, *[place] * 4]
    np.testing.assert_allclose(found.sum(axis=1), np.arange(1, 9) / 36)


def report(path: Path, **content) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_reports_of_one_molecule_are_read_together_where_all_know_it(tmp_path: Path):
    one = report(tmp_path / "one.json", phi={"1": [[1.0, 0.0]], "2": [[0.5, 0.5]]})
    two = report(tmp_path / "two.json", phi={"1": [[0.2, 0.8]]})
    old = report(tmp_path / "old.json", frames=10)
    assert profiles.read([one, two]) == {"1": [[1.0, 0.0], [0.2, 0.8]]}
    for others in ([one, old], [one, None], [], [old]):
        assert profiles.read(others) == {}


def test_a_damaged_report_is_named(tmp_path: Path):
    (tmp_path / "torn.json").write_text('{"phi": ')
    with pytest.raises(MoleculeError, match=r"torn\.json: not the report of a reference"):
        profiles.read([tmp_path / "torn.json"])
