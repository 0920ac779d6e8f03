"""What is measured of bonds and angles is what NumPy says, and holds for peptides of other sequence."""

import numpy as np
import pytest

from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.data.molecules.springs import kind, measure, pool, springs_of

BACKBONE = BeadMap.parse("backbone")


def molecule(sequence: str, seed: int = 0, frames: int = 50) -> tuple[Beads, np.ndarray]:
    beads = Beads.from_sequence(sequence, BACKBONE)
    return beads, 0.1 * np.random.default_rng(seed).normal(size=(frames, len(beads), 3))


def test_a_kind_is_the_same_from_either_end_and_in_every_residue():
    beads, _ = molecule("AGA")
    kinds = {kind(beads, triple) for triple in beads.angles}
    assert kinds == {kind(beads, triple[::-1]) for triple in beads.angles}
    assert "C0-N1-CA1" in kinds
    assert {kind(beads, pair) for pair in beads.bonds} == {"CA0-N0", "CA0-CB0", "C0-CA0", "C0-O0", "C0-N1"}


def test_angles_are_all_pairs_of_bonds_that_share_a_bead():
    beads, _ = molecule("AA")
    degrees = np.bincount(np.ravel(beads.bonds))
    assert len(beads.angles) == sum(d * (d - 1) // 2 for d in degrees)
    for first, centre, last in beads.angles:
        assert tuple(sorted((first, centre))) in beads.bonds
        assert tuple(sorted((centre, last))) in beads.bonds


def test_moments_are_those_of_all_values_of_a_kind_over_all_molecules():
    parts = [molecule("AV", 0, 40), molecule("GAS", 1, 25)]
    table = pool([measure(beads, frames) for beads, frames in parts])
    lengths, cosines = [], []
    for beads, frames in parts:
        for pair in beads.bonds:
            if kind(beads, pair) == "CA0-N0":
                lengths.append(np.linalg.norm(frames[:, pair[0]] - frames[:, pair[1]], axis=-1))
        for first, centre, last in beads.angles:
            if kind(beads, (first, centre, last)) == "C0-N1-CA1":
                one, other = frames[:, first] - frames[:, centre], frames[:, last] - frames[:, centre]
                norms = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
                cosines.append(np.sum(one * other, axis=-1) / norms)
    for moments, values in ((table["bonds"]["CA0-N0"], lengths), (table["angles"]["C0-N1-CA1"], cosines)):
        flat = np.concatenate(values)
        assert moments == pytest.approx([len(flat), flat.mean(), flat.var()])


def test_a_peptide_that_was_never_seen_has_the_springs_of_its_kinds():
    table = pool([measure(*molecule("AV"))])
    bonds, lengths, angles, cosines = springs_of(Beads.from_sequence("KFW", BACKBONE), table)
    beads = Beads.from_sequence("KFW", BACKBONE)
    assert [tuple(pair) for pair in bonds.tolist()] == [*beads.bonds]
    assert [tuple(triple) for triple in angles.tolist()] == [*beads.angles]
    for pair, moments in zip(beads.bonds, lengths, strict=True):
        assert moments == pytest.approx(table["bonds"][kind(beads, pair)][1:])
    for triple, moments in zip(beads.angles, cosines, strict=True):
        assert moments == pytest.approx(table["angles"][kind(beads, triple)][1:])


def test_what_the_data_had_none_of_has_no_spring():
    table = pool([measure(*molecule("GG"))])
    beads = Beads.from_sequence("GA", BACKBONE)
    bonds, _, angles, _ = springs_of(beads, table)
    held = {beads.atoms[bead] for bead in bonds.ravel()} | {beads.atoms[bead] for bead in angles.ravel()}
    assert "CB" not in held
    assert held == {"N", "CA", "C", "O"}
    nothing = springs_of(beads, {"bonds": {}, "angles": {}})
    assert [len(part) for part in nothing] == [0, 0, 0, 0]
