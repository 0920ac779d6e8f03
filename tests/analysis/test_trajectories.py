import mdtraj
import numpy as np

from fokker.analysis import trajectories
from fokker.data.bead_map import BeadMap
from fokker.data.beads import Beads


def test_a_written_trajectory_is_read_back_by_mdtraj(tmp_path):
    beads = Beads.from_sequence("KF", BeadMap.parse("backbone"))
    frames = 0.3 * np.random.default_rng(0).normal(size=(7, len(beads), 3)).astype(np.float32)
    trajectories.write(beads, frames, tmp_path / "new/KF.xtc")
    found = mdtraj.load(tmp_path / "new/KF.xtc", top=tmp_path / "new/KF.pdb")
    np.testing.assert_allclose(found.xyz, frames, atol=6e-4)
    assert [atom.name for atom in found.topology.atoms] == list(beads.atoms)
    assert [residue.name for residue in found.topology.residues] == ["LYS", "PHE"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["KF.pdb", "KF.xtc"]
