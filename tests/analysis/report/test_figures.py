"""Figures hold what they are given: panels, lines, labels, and no more."""

import struct
import zlib
from math import log, nan

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from fokker.analysis.metrics import MUELLER_BROWN, RAMACHANDRAN, Grid
from fokker.analysis.reduction import Totals, draws_of, held, in_parts
from fokker.analysis.report.figures import (
    COLOURS,
    HIGHEST,
    MOST_BONDS,
    Line,
    bond_lengths,
    free_energies,
    free_energies_along_phi,
    free_energy_profiles,
    free_energy_surfaces,
    to_png,
    to_rgb_array,
)
from fokker.analysis.results import Estimate, FreeEnergy, Length, Profiles, Structure
from fokker.analysis.systems import System
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads

# One bin a unit.
SMALL = Grid(("a", "b"), ((0.0, 4.0), (0.0, 4.0)), js_bins=4)
RESIDUES = ["AKFA LYS2", "AKFA PHE3", *(f"GAAAAG ALA{number}" for number in range(2, 6))]
NOISE = np.random.default_rng(0)


def repeated(*counts: tuple[tuple[float, float], int]) -> np.ndarray:
    """So many points at each place."""
    return np.concatenate([np.tile(place, (count, 1)) for place, count in counts]).astype(float)


def counts(points: np.ndarray, grid: Grid = SMALL) -> np.ndarray:
    """What lies within the limits."""
    return np.histogram2d(*points.T, bins=grid.js_bins, range=grid.limits)[0].astype(int)


def noise(grid: Grid) -> np.ndarray:
    return counts(NOISE.normal(size=(90, 2)), grid)


def panels(figure: Figure) -> list[Axes]:
    """All but the colour bar."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def image(panel: Axes) -> np.ma.MaskedArray:
    array = panel.images[0].get_array()
    assert isinstance(array, np.ma.MaskedArray)
    return array


def legend(panel: Axes) -> list[str]:
    found = panel.get_legend()
    return [text.get_text() for text in found.get_texts()] if found else []


# Free-energy surfaces


def test_surfaces_have_a_row_for_each_method_and_a_panel_for_each_set():
    row = {"reference": noise(RAMACHANDRAN), "iid": noise(RAMACHANDRAN)}
    figure = free_energy_surfaces({"Mixture": row, "Both": row, "Score": row}, RAMACHANDRAN)
    found = panels(figure)
    assert [panel.get_title() for panel in found] == ["reference", "iid"] * 3
    assert [panel.get_ylabel() for panel in found[::2]] == ["Mixture\nψ", "Both\nψ", "Score\nψ"]
    assert [panel.get_xlabel() for panel in found] == ["", "", "", "", "φ", "φ"]
    assert len(figure.axes) == 7
    assert figure.axes[-1].get_ylabel() == "free energy (kT)"
    for panel in found:
        assert panel.images[0].get_extent() == [-np.pi, np.pi, -np.pi, np.pi]


def test_a_row_without_a_name_is_labelled_by_the_coordinate_alone():
    (panel,) = panels(free_energy_surfaces({"": {"iid": noise(MUELLER_BROWN)}}, MUELLER_BROWN))
    assert panel.get_ylabel() == "y"
    assert panel.images[0].get_extent() == [-1.8, 1.1, -0.5, 2.0]


def test_surfaces_show_minus_the_logarithm_with_the_first_coordinate_to_the_right():
    points = counts(repeated(((0.5, 2.5), 100), ((3.5, 2.5), 20), ((1.5, 0.5), 1)))
    shown = image(*panels(free_energy_surfaces({"": {"iid": points}}, SMALL)))
    # Rows are drawn from the bottom, the second coordinate.
    np.testing.assert_allclose([shown[2, 0], shown[2, 3], shown[0, 1]], [0, log(5), log(100)], atol=1e-12)
    assert shown.count() == 3, "all other bins are empty"


def test_panels_share_one_scale_that_ends_at_the_highest_energy_shown():
    rows = {
        "": {
            "a": counts(repeated(((0.5, 0.5), 9), ((1.5, 1.5), 1))),
            "b": counts(repeated(((0.5, 0.5), 90), ((1.5, 1.5), 1))),
        }
    }
    limits = [panel.images[0].get_clim() for panel in panels(free_energy_surfaces(rows, SMALL))]
    assert limits == [(0, pytest.approx(log(90)))] * 2


def test_energies_above_the_highest_are_drawn_alike():
    points = counts(repeated(((0.5, 0.5), 30_000), ((1.5, 1.5), 1)))
    figure = free_energy_surfaces({"": {"iid": points}}, SMALL)
    assert panels(figure)[0].images[0].get_clim() == (0, HIGHEST)
    assert log(30_000) > HIGHEST
    colorbar = panels(figure)[0].images[0].colorbar
    assert colorbar is not None
    assert colorbar.extend == "max"


def toy(points: np.ndarray) -> Totals:
    return held(System.particle("toy", 23.0, 0.5), points).totals


def test_points_beyond_the_limits_are_not_drawn():
    points = repeated(((0.5, 0.5), 10), ((-0.5, 1.5), 5))
    strayed = np.concatenate([points, repeated(((-7, 1.5), 1000), ((-0.5, 99), 1000))])
    _, figure = free_energies({"": {"points": toy(points), "strayed": toy(strayed)}})["free-energy"]
    one, other = panels(figure)
    np.testing.assert_array_equal(image(one).filled(nan), image(other).filled(nan))


def test_a_panel_without_points_stays_white():
    sets = {"iid": counts(repeated(((0.5, 0.5), 10))), "none": counts(np.empty((0, 2)))}
    figure = free_energy_surfaces({"": sets}, SMALL)
    assert [image(panel).count() for panel in panels(figure)] == [1, 0]
    to_png(figure)
    to_png(free_energy_surfaces({"": {"none": sets["none"]}}, SMALL))


# Profiles


def line(histogram: np.ndarray, draws: np.ndarray | None = None) -> Line:
    return Line(histogram, np.zeros((0, len(histogram)), int) if draws is None else draws)


def molecule(sequence: str, bead_map: str, frames: int = 50) -> Totals:
    beads = Beads.from_sequence(sequence, BeadMap.parse(bead_map))
    system = System.molecule(sequence, beads, [0.4] * len(beads.bonds), 300.0)
    return held(system, NOISE.normal(size=(frames, len(beads), 3))).totals


def test_a_profile_is_minus_the_logarithm_along_its_axis_and_empty_bins_have_none():
    sets = {"reference": line(np.array([100, 0, 25, 50])), "iid": line(np.array([0, 0, 1, 1]))}
    (panel, other) = free_energy_profiles({"AC": [("d (nm)", (0.0, 2.0), sets)], "KF": []}).axes
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("d (nm)", "AC\nfree energy (kT)")
    assert legend(panel) == ["reference", "iid"]
    np.testing.assert_allclose(np.asarray(panel.lines[0].get_xdata()), [0.25, 0.75, 1.25, 1.75])
    np.testing.assert_allclose(np.asarray(panel.lines[0].get_ydata()), [0, nan, log(4), log(2)])
    assert not other.axison


def test_systems_are_drawn_by_what_they_are_projected_to():
    plane = {"": {"reference": toy(NOISE.normal(size=(90, 2)))}}
    assert [*free_energies(plane)] == ["free-energy"]
    peptides = {name: {"reference": molecule(name, "backbone")} for name in ("KF", "AAA")}
    drawn = free_energies(peptides)
    assert [*drawn] == ["free-energy", "torsions"]
    assert [panel.get_xlabel() for panel in drawn["torsions"][1].axes] == ["φ", "ψ"] * 2
    both = peptides | {"AGA": {"reference": molecule("AGA", "calpha")}}
    assert [*free_energies(both)] == ["free-energy", "torsions", "distances"]
    alone = free_energies({"AGA": both["AGA"]})
    assert [*alone] == ["distances"]
    assert [panel.get_xlabel() for panel in alone["distances"][1].axes] == [
        "ALA1-CA GLY2-CA (nm)",
        "GLY2-CA ALA3-CA (nm)",
        "ALA1-CA ALA3-CA (nm)",
    ]


def test_torsions_are_drawn_as_numpy_counts_them():
    system, frames = molecule("KF", "backbone").system, NOISE.normal(size=(400, 10, 3))
    shown, angles = held(system, frames).totals, system.shown(frames)
    axes = free_energies({"": {"iid": shown}})["torsions"][1].axes
    for axis, panel in enumerate(axes):
        expected, _ = np.histogram(angles[:, axis], bins=64, range=(-np.pi, np.pi))
        with np.errstate(divide="ignore"):
            energy = -np.log(expected / expected.max())
        drawn = np.asarray(panel.lines[0].get_ydata())
        np.testing.assert_allclose(drawn, np.where(np.isfinite(energy), energy, nan), atol=1e-12)


def test_every_residue_of_every_system_has_a_row_and_every_sheet_six():
    systems = {name: {"reference": molecule(name, "backbone")} for name in ("AKFA", "GAAAAG")}
    drawn = free_energies(systems)
    assert [*drawn] == ["free-energy", "torsions"]
    rows = [panel.get_ylabel() for panel in panels(drawn["free-energy"][1])]
    assert rows == [f"{name}\nψ" for name in RESIDUES]
    assert [panel.get_ylabel().split("\n")[0] for panel in drawn["torsions"][1].axes[::2]] == RESIDUES
    more = free_energies(systems | {"AAA": {"reference": molecule("AAA", "backbone")}})
    assert [*more] == ["free-energy", "free-energy-2", "torsions", "torsions-2"]
    assert more["free-energy-2"][0].endswith(" (AAA).")
    assert len(panels(more["free-energy-2"][1])) == 1


def test_errors_of_independent_frames_are_those_of_their_number():
    found = line(np.array([100, 0, 25, 875])).errors
    shares = np.random.default_rng(0).multinomial(1000, [0.1, 0, 0.025, 0.875], size=20_000) / 1000
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.log(shares[:, [0, 2, 3]]).std(axis=0)
    np.testing.assert_allclose(found[[0, 2, 3]], spread, rtol=0.06)
    assert not np.isfinite(found[1])
    unknown = Line(np.array([100, 0, 25, 875]), np.zeros((0, 4), int), independent=False)
    assert np.isnan(unknown.errors).all()


def test_errors_of_chains_are_those_of_draws_of_whole_chains():
    """Chains that stay where they begin are worth one frame each, however long they are."""
    random, parts = np.random.default_rng(1), 200
    stay = np.eye(4, dtype=int)[random.choice(4, size=parts, p=[0.4, 0.3, 0.2, 0.1])] * 50
    drawn = draws_of(parts, 200) @ stay
    counts = stay.sum(axis=0)
    independent = line(counts // 50).errors
    np.testing.assert_allclose(line(counts, drawn).errors, independent, rtol=0.25)
    assert np.isnan(line(counts, np.array([[5, 0, 1, 1], [5, 0, 1, 1], [5, 1, 1, 1]])).errors[1])


def test_only_frames_that_are_parts_of_their_own_count_as_independent():
    system, frames = molecule("AAA", "backbone").system, NOISE.normal(size=(40, 15, 3))
    blocks = held(system, frames).blocks
    samples, chains, drawn = (
        in_parts(system, blocks, sizes, draws).totals
        for sizes, draws in (([1] * 40, 0), ([20] * 2, 0), ([20] * 2, 9))
    )
    assert [Line.of(one, 0).independent for one in (samples, chains, drawn)] == [True, False, False]
    assert [len(Line.of(one, 0, axis=1).draws) for one in (samples, chains, drawn)] == [0, 0, 9]
    for axis, one in ((0, drawn), (1, drawn)):
        found = Line.of(one, 0, axis)
        np.testing.assert_array_equal(found.counts, one.js[0].sum(axis=1 - axis))
        assert (found.draws.sum(axis=1) == 40).all()


def test_a_band_of_one_error_is_around_each_profile():
    one = line(np.array([100, 50, 25, 50]))
    (panel,) = free_energy_profiles({"": [("d", (0.0, 2.0), {"a": one, "b": one})]}).axes
    assert len(panel.collections) == 2
    vertices = np.concatenate([np.asarray(path.vertices) for path in panel.collections[0].get_paths()])
    middle = np.asarray(panel.lines[0].get_ydata(), float)
    assert vertices[:, 1].max() == pytest.approx((middle + one.errors).max())
    first, second = panel.lines
    assert first.get_color() != second.get_color()
    assert first.get_linestyle() != second.get_linestyle()


def test_bonds_are_drawn_about_the_mean_of_the_reference():
    spread = {"reference": (0.15, 0.003), "iid": (0.151, 0.002), "sim": (0.148, 0.004)}
    bond = Length(spread, {"iid": 0.001, "sim": 0.002})
    bonds = {f"bond {number}": bond for number in range(MOST_BONDS + 3)}
    figure = bond_lengths(
        {"AKF": Structure({"N CA": bond}, {}, None, None), "many": Structure(bonds, {}, None, None)}
    )
    one, many = figure.axes
    assert [text.get_text() for text in one.get_yticklabels()] == ["N CA"]
    assert len(many.get_yticks()) == MOST_BONDS
    assert (one.get_title(), many.get_title()) == ("AKF", "many")
    sets = [part for part in one.containers if isinstance(part, ErrorbarContainer)]
    marks = [part.lines[0] for part in sets]
    np.testing.assert_allclose([np.asarray(mark.get_xdata())[0] for mark in marks], [0, 1, -2], atol=1e-9)
    assert len({str(mark.get_marker()) for mark in marks}) == 3
    bars = [part.lines[2][0].get_segments()[0][:, 0] for part in sets]
    np.testing.assert_allclose(bars, [[-3, 3], [-1, 3], [-6, 2]], atol=1e-9)
    to_png(figure)


# Files


def chunks(png: bytes) -> list[bytes]:
    """Names of a PNG's chunks; every checksum is right."""
    names, place = [], 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        body = png[place + 4 : place + 8 + length]
        assert struct.pack(">I", zlib.crc32(body)) == png[place + 8 + length : place + 12 + length]
        names.append(body[:4])
        place += 12 + length
    return names


def test_equal_figures_are_equal_png_files_without_date_or_version():
    points = noise(MUELLER_BROWN)
    one, other = (to_png(free_energy_surfaces({"": {"iid": points}}, MUELLER_BROWN)) for _ in range(2))
    assert one == other
    assert one.startswith(b"\x89PNG\r\n\x1a\n")
    assert set(chunks(one)) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


def test_pixels_are_those_of_the_figure():
    figure = free_energy_profiles({"": [("d", (0.0, 2.0), {"a": line(np.array([4, 1]))})]})
    pixels = to_rgb_array(figure)
    assert pixels.shape == (280, 400, 3)
    assert pixels.dtype == np.uint8
    assert pixels[0, 0].tolist() == [255, 255, 255]
    blue = [int(COLOURS[0][i : i + 2], 16) for i in (1, 3, 5)]
    assert (pixels == blue).all(axis=-1).any(), "red, green and blue are in this order"


def test_free_energies_along_phi_have_bands_of_their_errors_and_end_where_nothing_is_known():
    unknown = Estimate(nan, nan)
    one = FreeEnergy([0.0, 2.0, nan, 4.0], [0.1, nan, nan, 0.5], unknown, unknown, unknown)
    profiles = Profiles("φ of ALA2", "biased", {"reference": one, "umbrella": one})
    figure = free_energies_along_phi({"AC": profiles, "KF": profiles})
    first, second = figure.axes
    assert [line.get_label() for line in first.lines] == ["reference (biased frames)", "umbrella"]
    np.testing.assert_array_equal(first.lines[0].get_ydata(), one.values)
    np.testing.assert_allclose(
        np.asarray(first.lines[0].get_xdata(), float), np.pi * np.array([-0.75, -0.25, 0.25, 0.75])
    )
    assert len(first.collections) == 2
    heights = np.concatenate([np.asarray(path.vertices)[:, 1] for path in first.collections[0].get_paths()])
    assert (np.nanmin(heights), np.nanmax(heights)) == (-0.1, 4.5)
    assert second.get_ylabel() == "KF\nfree energy (kT)"
