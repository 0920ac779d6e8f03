"""Bond lengths accept every real frame, and refuse other units, other molecules and broken frames by name."""

import re
from typing import Any

import mdtraj
import numpy as np
import pytest

from fokker.data.molecules import bonds as lengths
from fokker.data.molecules.beads import BeadMap, Beads
from fokker.data.molecules.bonds import UNITS, Bonds
from fokker.data.molecules.residues import MoleculeError, sequence_topology

from ..examples import REAL, bonds_of, coarse_grain, made_up, real

BACKBONE = BeadMap.parse("backbone")
Molecule = mdtraj.Topology | Beads | Bonds


def check_bonds(frames: np.ndarray, molecule: Molecule, *told: Any, **more: Any) -> None:
    lengths.check_bonds(frames, bonds_of(molecule), *told, **more)


def detect_unit(frames: np.ndarray, molecule: Molecule, *told: Any) -> float:
    return lengths.detect_unit(frames, bonds_of(molecule), *told)


def good_frames(frames: np.ndarray, molecule: Molecule) -> np.ndarray:
    return bonds_of(molecule).good(frames)


def straight(beads: Beads, length: float) -> np.ndarray:
    """One frame of beads in a row."""
    positions = np.zeros((1, len(beads), 3))
    positions[0, :, 0] = length * np.arange(len(beads))
    return positions


@pytest.mark.parametrize("name", REAL)
def test_every_frame_of_the_reference_data_passes(name: str):
    topology, positions = real(name, frames=10_000)
    check_bonds(positions, topology)
    for spec in ("backbone", "calpha", ["CA", "CB"]):
        frames, beads = coarse_grain(positions, topology, BeadMap.parse(spec))
        check_bonds(frames, beads)


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (10, "all bonds are 9.* times too long, as of positions in angstrom"),
        (10.3, "angstrom"),
        (30, "as of positions in nm\\*30"),
        (0.1, "as of positions in nm/10"),
        (0, "is 0 nm long"),
        (2, "another molecule, or to atoms in another order"),
    ],
)
def test_positions_in_another_unit_are_refused(scale: float, message: str):
    topology, positions = made_up("AC")
    for molecule in (topology, Beads.from_sequence("AC", BACKBONE)):
        frames = positions if molecule is topology else coarse_grain(positions, topology, BACKBONE)[0]
        check_bonds(frames, molecule)
        with pytest.raises(MoleculeError, match=rf"^a\.npz: frame 0: the bond .*{message}"):
            check_bonds(scale * frames, molecule, "a.npz")


def test_the_length_is_told_beside_the_one_expected():
    beads = Beads.from_sequence("A", BeadMap.parse(["N", "CA"]))
    with pytest.raises(
        MoleculeError, match=r"the bond ALA1-N to ALA1-CA is 1\.5 nm long and should be 0\.146 nm"
    ):
        check_bonds(straight(beads, 1.5), beads)


@pytest.mark.parametrize(
    ("atoms", "length"),
    [(["N", "CA"], 0.146), (["CA", "C"], 0.152), (["CA", "CB"], 0.153), (["C", "O"], 0.123)],
)
def test_a_bond_may_vibrate_but_not_be_that_of_two_atoms_apart(atoms: list[str], length: float):
    beads = Beads.from_sequence("A", BeadMap.parse(atoms))
    for factor in (0.8, 1, 1.3):
        check_bonds(straight(beads, factor * length), beads)
    for factor in (0.7, 1.4, 1.65):
        with pytest.raises(MoleculeError):
            check_bonds(straight(beads, factor * length), beads)


def test_calpha_may_be_cis_or_trans_but_not_skip_a_residue():
    beads = Beads.from_sequence("GGG", BeadMap.parse("calpha"))
    for length in (0.29, 0.38, 0.4):
        check_bonds(straight(beads, length), beads)
    for length in (0.2, 0.5, 0.6, 3.8):
        with pytest.raises(MoleculeError, match="GLY1-CA to GLY2-CA"):
            check_bonds(straight(beads, length), beads)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_frame_that_is_not_finite_is_named_with_its_atom(value: float):
    topology, positions = made_up("AC")
    positions[7, 3, 1] = value
    atom = re.escape(str(topology.atom(3)))
    with pytest.raises(
        MoleculeError, match=rf"^a\.dcd: frame 7: atom {atom} is at \[.*{value}.*has to be finite"
    ):
        check_bonds(positions, topology, "a.dcd")
    with pytest.raises(MoleculeError, match="frame 107: atom"):
        check_bonds(positions, topology, numbers=range(100, 120))


def test_the_first_bad_frame_and_its_worst_bond_are_named():
    topology, positions = made_up("AC")
    index = {str(atom): atom.index for atom in topology.atoms}
    positions[11, index["CYS2-SG"]] += 3
    positions[5, index["CYS2-SG"]] += 0.5
    positions[5, index["ALA1-CB"]] += 2
    with pytest.raises(MoleculeError, match=r"frame 5: the bond ALA1-CA to ALA1-CB is 3\..*periodic box"):
        check_bonds(positions, topology)


FAULTS = {
    "zeros": lambda frame: 0 * frame,
    "far": lambda frame: frame + 1e9 * np.eye(len(frame), 3, dtype=np.float32),
    "one long bond": lambda frame: frame + 0.2 * np.eye(len(frame), 3, -9, dtype=np.float32),
    "noise": lambda frame: np.random.default_rng(0).normal(size=frame.shape),
    "another order": lambda frame: frame[::-1],
    "another scale": lambda frame: 2 * frame,
    "another unit": lambda frame: 10 * frame,
    "not finite": lambda frame: frame + np.where(np.arange(len(frame)) == 4, np.nan, 0)[:, None],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_frame_among_good_ones_is_called_that(fault: str):
    topology, positions = made_up("AC")
    positions[13] = FAULTS[fault](positions[13])
    expected = np.arange(20) != 13
    np.testing.assert_array_equal(good_frames(positions, topology), expected)
    for frames, numbers, before, words in (
        (positions, None, 0, "frame 13: .*the frame is broken, as the 13 frames before it are good"),
        (positions, range(100, 120), 90, "frame 113: .* as the 103 frames before it are good"),
        (positions[13:14], [7], 1, "frame 7: .* as the frame before it is good"),
        (positions[13:], None, 0, "frame 0: .*the frame is broken, as 6 frames after it are good"),
    ):
        with pytest.raises(MoleculeError, match=words) as error:
            check_bonds(frames, topology, "a.dcd", numbers, before)
        assert "another molecule" not in str(error.value)
        assert "--skip-damaged" in str(error.value)


def test_an_empty_frame_alone_is_called_empty():
    topology, positions = made_up("AC")
    with pytest.raises(MoleculeError, match="all atoms are at one place: the frame is empty"):
        check_bonds(0 * positions, topology)


def test_hydrogens_matter_only_as_beads():
    topology, positions = real("AV")
    index = {str(atom): atom.index for atom in topology.atoms}
    hydrogen, heavy = index["ALA1-HB1"], index["ALA1-CB"]
    lost, moved, broken = positions.copy(), positions.copy(), positions.copy()
    lost[4, hydrogen], moved[4, hydrogen], broken[4, heavy] = np.nan, 3, 3
    bonds = Bonds.of(topology)
    for frames in (lost, moved):
        check_bonds(frames, topology)
        assert good_frames(frames, topology).all()
        assert detect_unit(frames, topology) == 1
        with pytest.raises(MoleculeError, match=r"frame 4: .*ALA1-HB1"):
            check_bonds(frames, bonds.with_beads([hydrogen, heavy]))
        all_atoms, beads = coarse_grain(frames, topology, BeadMap.parse("all"))
        with pytest.raises(MoleculeError, match=r"frame 4: .*ALA1-HB1"):
            check_bonds(all_atoms, beads)
    # A side chain may be no bead, but shows that the molecule is cut.
    with pytest.raises(MoleculeError, match=r"frame 4: the bond ALA1-C[AB] to "):
        check_bonds(broken, topology)


def test_sites_without_mass_may_be_anywhere():
    topology, positions = made_up("AC")
    for name, element in (("LP1", "virtual"), ("DCA", "hydrogen"), ("M1", "virtual"), ("EP", "virtual")):
        atom = topology.add_atom(name, getattr(mdtraj.element, element), topology.residue(0))
        topology.add_bond(topology.atom(1), atom)
    frames = np.concatenate([positions, np.full((20, 4, 3), np.nan, np.float32)], axis=1)
    check_bonds(frames, topology)
    assert coarse_grain(frames, topology, BACKBONE)[1] == Beads.from_sequence("AC", BACKBONE)


def test_bonds_are_known_where_elements_are_told_by_changed_masses():
    topology, positions = real("KF")
    for atom in topology.atoms:
        atom.element = mdtraj.element.helium if atom.element.symbol == "H" else mdtraj.element.lithium
    known, expected = Bonds.of(topology), Bonds.of(real("KF")[0])
    np.testing.assert_array_equal(known.lengths, expected.lengths)
    np.testing.assert_array_equal(known.heavy, expected.heavy)
    check_bonds(positions, topology)


def test_an_allowed_bond_is_not_blamed():
    """A cis bond from CA to CA is further from its length than this broken one."""
    beads = Beads.from_sequence("GA", BeadMap.parse(["CA", "CB"]))
    positions = np.array([[[0, 0, 0], [0.26, 0, 0], [0.26, 0.214, 0]]])
    with pytest.raises(MoleculeError, match=r"the bond ALA2-CA to ALA2-CB is 0\.214 nm"):
        check_bonds(positions, beads)


def test_a_molecule_cut_by_the_periodic_box_is_told_so():
    topology, positions = real("KF")
    positions -= positions.mean(axis=1, keepdims=True)
    positions[:, :, 0] %= 3
    with pytest.raises(MoleculeError, match=r"cut by the periodic box \(make it whole first\)"):
        check_bonds(positions, topology)


def test_another_molecule_with_as_many_atoms_is_refused():
    topology, positions = real("ET")[0], real("LA")[1]
    assert topology.n_atoms == positions.shape[1]
    with pytest.raises(MoleculeError, match=r"frame 0: .*another molecule, or to atoms in another order"):
        check_bonds(positions, topology)


@pytest.mark.parametrize("name", REAL)
def test_another_order_of_atoms_is_refused(name: str):
    topology, positions = real(name)
    elements = np.array([atom.element.symbol == "H" for atom in topology.atoms])
    orders = {
        "reversed": np.arange(topology.n_atoms)[::-1],
        "hydrogens last": np.argsort(elements, kind="stable"),
        "C and CB exchanged": exchanged(topology, "C", "CB"),
        "N and CA exchanged": exchanged(topology, "N", "CA"),
    }
    for order in orders.values():
        with pytest.raises(MoleculeError, match=r"frame 0: .* in another order"):
            check_bonds(positions[:, order], topology)


def exchanged(topology: mdtraj.Topology, first: str, second: str) -> np.ndarray:
    order = np.arange(topology.n_atoms)
    residue = next(residue for residue in topology.residues if residue.name not in ("ACE", "NME"))
    a, b = residue.atom(first).index, residue.atom(second).index
    order[[a, b]] = b, a
    return order


def test_frames_of_another_number_of_atoms_are_refused():
    topology, positions = made_up("AC")
    with pytest.raises(MoleculeError, match=r"a\.xtc: frames of 11 atoms, but the topology has 12"):
        check_bonds(positions[:, 1:], topology, "a.xtc")


def test_nothing_is_wrong_with_no_frame():
    topology, positions = made_up("AC")
    check_bonds(positions[:0], topology)


@pytest.mark.parametrize(("unit", "scale"), [("nm", 1), ("angstrom", 10), ("nm*30", 30), ("nm/10", 0.1)])
@pytest.mark.parametrize("spec", ["backbone", "calpha", ["CA", "CB", "C"]])
def test_the_unit_is_that_of_the_bonds(unit: str, scale: float, spec: str | list[str]):
    topology, positions = real("SY")
    frames, beads = coarse_grain(positions, topology, BeadMap.parse(spec))
    assert detect_unit(scale * frames, beads) == UNITS[unit] == pytest.approx(1 / scale)
    assert detect_unit(scale * positions, topology) == UNITS[unit]


def test_the_unit_is_that_of_the_bonds_from_n_to_ca():
    beads = Beads.from_sequence("A", BACKBONE)
    positions = np.zeros((1, 5, 3))
    positions[0, 1:, 0] = 1.46
    positions[0, 2:, 1] = 30  # Whatever the others are.
    assert detect_unit(positions, beads) == UNITS["angstrom"]


def test_broken_frames_say_nothing_about_the_unit():
    topology, positions = made_up("AC")
    positions[:3] = np.nan
    assert detect_unit(10 * positions, topology) == UNITS["angstrom"]


def test_frames_that_are_empty_or_of_no_unit_do_not_count_where_others_are_good():
    topology, positions = made_up("AC")
    positions[:12] = 0
    positions[12:15] *= 2
    assert detect_unit(30 * positions, topology) == UNITS["nm*30"]
    with pytest.raises(MoleculeError, match=r"a\.npy: all atoms of the first frames are at one place"):
        detect_unit(0 * positions, topology, "a.npy")


@pytest.mark.parametrize("scale", [0.3, 2, 20, 100])
def test_no_unit_is_guessed_from_impossible_bonds(scale: float):
    topology, positions = made_up("AC")
    expected = r"should have 0\.146 in nm, 1\.46 in angstrom, 4\.38 in nm\*30"
    with pytest.raises(MoleculeError, match=rf"a\.npy: the bond ALA1-N to ALA1-CA has length .* {expected}"):
        detect_unit(scale * positions, topology, "a.npy")


def test_no_unit_is_guessed_without_bonds_or_frames():
    single, pair = sequence_topology("A"), made_up("AC")
    beads = Beads.from_sequence("A", BeadMap.parse("calpha"))
    with pytest.raises(MoleculeError, match="the topology has no bond: give the unit"):
        detect_unit(np.zeros((2, 1, 3)), beads)
    with pytest.raises(MoleculeError, match="no frame is finite"):
        detect_unit(np.full((2, single.n_atoms, 3), np.nan), single)
    with pytest.raises(MoleculeError, match="no frame is finite"):
        detect_unit(pair[1][:0], pair[0])
