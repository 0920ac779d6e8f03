"""Properties of residues are those of chemistry, and are known where the type is hidden or was never seen."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.data.molecules.residues import AMINO_ACIDS, CODES, RESIDUES, sequence_topology
from fokker.model.config import UNKNOWN, ExpertConfig, NetworkConfig, VectorTransformerConfig
from fokker.model.experts import Expert, Parameters
from fokker.model.molecules import Molecule, hide_residues
from fokker.model.networks.residues import PROPERTIES, TABLE, properties_of, shown_types

NETWORK = VectorTransformerConfig(springs=False, heads=2, head_width=4, residue_properties=True)
BEADS = Beads.from_sequence("AV", BeadMap.parse("backbone"))
BACKBONE = {"N", "CA", "C", "O", "OXT"}


def column(name: str) -> dict[str, float]:
    values = TABLE[: len(AMINO_ACIDS), PROPERTIES.index(name)].tolist()
    return dict(zip(AMINO_ACIDS, values, strict=True))


def side_chain(name: str) -> tuple[set[str], list[tuple[str, str]]]:
    """Heavy atoms, and the bonds among them and CA."""
    topology = sequence_topology(f"ACE-{name}-NME")
    residue = topology.residue(1)
    assert residue.name == name
    atoms = {atom.name for atom in residue.atoms} - BACKBONE
    inner = [(a.name, b.name) for a, b in topology.bonds if a.residue is residue and b.residue is residue]
    return atoms, [bond for bond in inner if {*bond} <= atoms | {"CA"}]


def rings(bonds: list[tuple[str, str]], atoms: set[str]) -> int:
    """Of a connected graph: bonds that a tree would not have."""
    return len(bonds) - len({*atoms, "CA"}) + 1


def test_sizes_rings_and_branches_are_those_of_the_atoms():
    for name in AMINO_ACIDS:
        atoms, bonds = side_chain(name)
        assert 10 * column("size")[name] == pytest.approx(len(atoms)), name
        at_beta = sum("CB" in bond for bond in bonds) - (name != "GLY")
        assert column("β-branched")[name] == (at_beta == 2), name
        # Proline's ring goes through its backbone's N, so its side chain is a chain.
        assert column("aromatic")[name] == (rings(bonds, atoms) > 0), name
        assert column("glycine")[name] == (not atoms), name
        assert column("proline")[name] == (name == "PRO"), name


def test_charges_are_those_of_the_force_field_of_our_reference():
    openmm = pytest.importorskip("openmm.app")
    field = openmm.ForceField("amber14/protein.ff14SB.xml")
    for name in AMINO_ACIDS:
        template = field._templates["HIE" if name == "HIS" else name]
        charge = sum(float(atom.parameters["charge"]) for atom in template.atoms)
        assert column("charge")[name] == pytest.approx(charge, abs=1e-3), name


def test_hydropathies_are_in_the_published_order():
    """Kyte and Doolittle 1982, table 2: from isoleucine, 4.5, to arginine, −4.5."""
    order = "IVLFCMAGTSWYPHEQDNKR"
    values = [4.5 * column("hydropathy")[CODES[code]] for code in order]
    assert values == sorted(values, reverse=True)
    assert (values[0], values[-1]) == pytest.approx((4.5, -4.5))
    assert sum(values) == pytest.approx(-9.8, abs=1e-4)
    assert Counter(np.round(values, 1).tolist())[-3.5] == 4


def test_caps_and_what_is_not_known_have_zeros_and_the_others_differ():
    assert not TABLE[len(AMINO_ACIDS) :].any()
    assert len(TABLE) == UNKNOWN + 1 > len(RESIDUES)
    # D and N, E and Q by their charge; I and L by a branch; all by something.
    assert len({tuple(row) for row in TABLE[: len(AMINO_ACIDS)].tolist()}) == 20
    assert np.abs(TABLE).max() <= 1


def test_a_hidden_type_is_embedded_as_unknown_and_keeps_its_properties():
    kinds = jnp.arange(len(TABLE))
    np.testing.assert_array_equal(properties_of(kinds), TABLE)
    np.testing.assert_array_equal(shown_types(kinds), kinds)
    hidden = UNKNOWN + 1 + kinds
    np.testing.assert_array_equal(properties_of(hidden), TABLE)
    assert set(np.asarray(shown_types(hidden)).tolist()) == {UNKNOWN}


@cache
def expert(network: NetworkConfig = NETWORK, beads: int = len(BEADS)) -> Expert:
    return Expert(ExpertConfig((0, 1), (8,), epochs=1, midpoint=0.3), network, (beads, 3))


@cache
def log_density(one: Expert) -> Callable[..., jax.Array]:
    return jax.jit(one.log_density)


def parameters_of(one: Expert) -> Parameters:
    key = jax.random.key(0)
    leaves, tree = jax.tree.flatten(jax.jit(one.init)(key))
    keys = jax.random.split(key, len(leaves))
    return tree.unflatten(
        [p + 0.3 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
    )


def molecule(*kinds: int, sequence: Beads = BEADS) -> Molecule:
    """Alanine and valine with other types of residues."""
    features = sequence.features.copy()
    features[:, 0] = np.array(kinds)[features[:, 3]]
    return Molecule(jnp.asarray(features), jnp.ones(len(features), bool))


def energy(one: Expert, own: Molecule, parameters: Parameters, size: int = len(BEADS)) -> float:
    x = 0.5 * jax.random.normal(jax.random.key(1), (len(BEADS), 3))
    x = jnp.zeros((size, 3)).at[: len(x)].set(x)
    return float(log_density(one)(parameters, x, jnp.asarray(0.1), own))


def hidden(name: str) -> int:
    return UNKNOWN + 1 + RESIDUES.index(name)


def test_hidden_residues_of_equal_properties_are_one_and_of_others_are_not():
    one = expert()
    parameters = parameters_of(one)
    ace, nme, ala, asp, asn = (hidden(name) for name in ("ACE", "NME", "ALA", "ASP", "ASN"))
    assert energy(one, molecule(ace, ala), parameters) == energy(one, molecule(nme, ala), parameters)
    assert energy(one, molecule(ace, ala), parameters) == energy(one, molecule(UNKNOWN, ala), parameters)
    assert (
        abs(energy(one, molecule(asp, ala), parameters) - energy(one, molecule(asn, ala), parameters)) > 1e-3
    )
    # And what is shown is more than its properties.
    shown = energy(one, molecule(RESIDUES.index("ASP"), ala), parameters)
    assert abs(shown - energy(one, molecule(asp, ala), parameters)) > 1e-3


def test_a_type_whose_embedding_is_that_of_the_unknown_is_as_if_it_were_hidden():
    one = expert()
    parameters = parameters_of(one)
    table = jnp.asarray(parameters["embedding_0"]["embedding"])
    asp, ala = RESIDUES.index("ASP"), RESIDUES.index("ALA")
    unseen = {**parameters, "embedding_0": {"embedding": table.at[asp].set(table[UNKNOWN])}}
    found = energy(one, molecule(asp, ala), unseen)
    assert found == energy(one, molecule(hidden("ASP"), ala), parameters)
    assert found != energy(one, molecule(hidden("LYS"), ala), parameters)


def test_without_properties_nothing_is_learned_of_them_and_all_hidden_types_are_one():
    one = expert(replace(NETWORK, residue_properties=False))
    parameters = parameters_of(one)
    assert "residue_properties" not in parameters
    ala = RESIDUES.index("ALA")
    every = {energy(one, molecule(hidden(name), ala), parameters) for name in ("ASP", "LYS", "ACE")}
    assert every == {energy(one, molecule(UNKNOWN, ala), parameters)}
    more = jax.eval_shape(expert().init, jax.random.key(0))
    assert more["residue_properties"]["kernel"].shape == (len(PROPERTIES), 16)


def test_padding_changes_nothing_where_its_residues_have_properties():
    small, large = expert(), expert(beads=len(BEADS) + 3)
    parameters, own = parameters_of(small), molecule(3, 8)
    padding = jnp.asarray([[RESIDUES.index("TRP"), 0, 0, 0]] * 3)
    padded = Molecule(jnp.concatenate([own.features, padding]), jnp.arange(len(BEADS) + 3) < len(BEADS))
    found = energy(large, padded, parameters, len(BEADS) + 3)
    assert found == pytest.approx(energy(small, own, parameters), rel=1e-5)


def test_what_training_hides_keeps_its_properties():
    several = jax.tree.map(lambda part: jnp.tile(part, (50, 1, *[1] * (part.ndim - 1))), molecule(3, 8))
    several = Molecule(several.features.reshape(50, -1, 4), several.mask.reshape(50, -1))
    kinds = hide_residues(several, jax.random.key(0), 0.5).features[..., 0]
    assert 10 < int((kinds[:, 0] > UNKNOWN).sum()) < 40
    np.testing.assert_array_equal(properties_of(kinds), properties_of(several.features[..., 0]))
