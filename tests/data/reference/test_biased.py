"""Biased frames are weighed walker by walker; what their weights follow from goes with them."""

from pathlib import Path

import numpy as np
import pytest

from fokker.data.molecules.residues import MoleculeError
from fokker.data.reference.biased import Weights

KT = 2.5


def written(path: Path, seed: int = 0) -> Path:
    """Two walkers of 30 and 20 frames, whose biases have constants of their own, along two torsions."""
    random = np.random.default_rng(seed)
    walker = np.repeat([0, 1], [30, 20]).astype(np.int32)
    bias = -random.uniform(0, 8, size=50) - np.where(walker, 200, 0)
    tables = -random.uniform(0, 8, size=(2, 2, 72))
    np.savez(path, bias=bias, walker=walker, tables=tables, atoms=[[4, 6, 8, 9], [9, 11, 13, 14]])
    return path


def test_every_walker_has_the_mean_weight_1(tmp_path):
    path = written(tmp_path / "GAV-biased-arrays.npz")
    found = Weights.read(path, KT)
    log_weight, walker = found.columns.T
    bias = np.load(path)["bias"]
    for number in (0, 1):
        own = np.exp(log_weight[walker == number])
        assert own.mean() == pytest.approx(1)
        expected = np.exp((bias[walker == number] - bias[walker == number].max()) / KT)
        np.testing.assert_allclose(own / own.max(), expected)


def test_tables_add_up_to_the_weight_of_a_frame(tmp_path):
    """Less the same constant; torsions of which an atom is no bead are left out."""
    found = Weights.read(written(tmp_path / "a.npz"), KT)
    known = found.along([4, 6, 8, 9, 11, 13, 14])
    assert known["torsions"] == [[0, 1, 2, 3], [3, 4, 5, 6]]
    sums = np.array(known["tables"]).sum(axis=1)
    np.testing.assert_allclose(sums, found.tables.sum(axis=1) - found.log_mean[:, None], rtol=1e-4)
    fewer = found.along([4, 6, 8, 9, 11, 13])
    assert fewer["torsions"] == [[0, 1, 2, 3]]
    assert np.shape(fewer["tables"]) == (2, 1, 72)
    assert found.along([6, 13]) == {"torsions": [], "tables": [[], []]}


def test_references_of_one_molecule_have_walkers_of_their_own(tmp_path):
    parts = [Weights.read(written(tmp_path / f"{seed}.npz", seed), KT) for seed in (0, 1)]
    joined = Weights.joined(parts)
    np.testing.assert_array_equal(np.bincount(joined.walker), [30, 20, 30, 20])
    np.testing.assert_array_equal(joined.tables[2:], parts[1].tables)
    np.testing.assert_array_equal(joined.log_weight[50:], parts[1].log_weight)


def test_a_file_that_is_damaged_is_named(tmp_path):
    path = tmp_path / "GAV-biased-arrays.npz"
    np.savez(path, bias=np.zeros(3))
    with pytest.raises(MoleculeError, match=r"GAV-biased-arrays\.npz: not the biased frames of a reference"):
        Weights.read(path, KT)
