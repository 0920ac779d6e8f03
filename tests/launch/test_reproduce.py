"""The paper's table: a small one made and stopped by the command, its statistics and its text."""

import json
import re
import signal
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from fokker.analysis.results import Metrics, Scores
from fokker.launch.cli import main
from fokker.launch.reproduce import PUBLISHED, _cells, markdown

from ..distributed.runs.test_reporting import RESULT
from ..user import Result, User

PAPER = Path(__file__).parents[2] / ".." / "shared" / "paper" / "plainer2025.txt"
METHODS = ("diffusion", "two-for-one")
SEEDS = 2
SMALL = [
    *("--data.frames", "2000", "--data.chains", "100", "--data.burn-in", "1000", "--train.block", "10"),
    *("--experts.0.epochs", "20", "--experts.0.hidden", "8", "--cluster.simulators", "1"),
    *("--sample.samples", "200", "--sample.chunk", "100", "--sample.evaluations", "50"),
    *("--simulate.frames", "200", "--simulate.chains", "20", "--simulate.chunk", "10"),
    *("--simulate.stride", "10", "--simulate.burn-in", "100"),
]


@pytest.fixture(scope="module")
def table(user: User, guest: User) -> tuple[Path, Result]:
    """A table whose process was killed in training: its directory, and what the second attempt printed."""
    words = ["reproduce", "table6", "--seeds", str(SEEDS), "--methods", *METHODS, *SMALL]
    root = guest.home / "runs" / "table6"

    def begun() -> list[Path]:
        """Where folders come and go nothing is looked for."""
        folders = [root / method for method in METHODS]
        return [path for folder in folders for path in folder.glob("seed-*/experts/*/history.jsonl")]

    killed = user.stop(words, signal.SIGKILL, when=lambda: bool(begun()))
    assert killed.returncode == -signal.SIGKILL
    assert 0 < len(begun()) < SEEDS * len(METHODS)
    result = guest.run(*words)
    assert (result.returncode, result.stderr) == (0, "")
    return root, result


def metrics(root: Path, method: str, seed: int) -> dict:
    return json.loads((root / method / f"seed-{seed}" / "metrics.json").read_text())


@pytest.mark.long
def test_cells_are_mean_and_deviation_of_the_runs(table: tuple[Path, Result]):
    root, _ = table
    found = json.loads((root / "table6.json").read_text())
    assert found["seeds"] == SEEDS
    assert found["columns"] == ["iid js", "sim js", "iid pmf", "sim pmf"]
    assert [*found["rows"]] == ["reference", *METHODS]
    for method in METHODS:
        assert metrics(root, method, 0) != metrics(root, method, 1)
        for definition in ("paper", "corrected"):
            for column, cell in zip(found["columns"], found["rows"][method][definition], strict=True):
                kind, metric = column.split()
                values = [metrics(root, method, seed)[definition][kind][metric] for seed in range(SEEDS)]
                assert cell == pytest.approx([statistics.mean(values), statistics.stdev(values)])


@pytest.mark.long
def test_reference_row_compares_independent_trajectories_with_the_shared_data(table: tuple[Path, Result]):
    root, _ = table
    rows = json.loads((root / "table6.json").read_text())["rows"]["reference"]
    seeds = [json.loads(path.read_text()) for path in sorted((root / "reference").glob("*.json"))]
    assert len(seeds) == SEEDS
    for index, metric in enumerate(("js", "js", "pmf", "pmf")):
        values = [seed[1][("js", "pmf").index(metric)] for seed in seeds]
        cell = [statistics.mean(values), statistics.stdev(values)]
        assert rows["corrected"][index] == pytest.approx(cell)
    runs = [metrics(root, method, seed) for method in METHODS for seed in range(SEEDS)]
    assert len({run["data_fingerprint"] for run in runs}) == 1
    # An independent trajectory is what the floor of every run compares with, too, but of as few frames as
    # were simulated.
    assert 0 < rows["corrected"][0][0] < runs[0]["corrected"]["floor"]["js"]


@pytest.mark.long
def test_table_and_figure_are_written_and_printed_beside_the_published_values(table: tuple[Path, Result]):
    root, result = table
    text = (root / "table6.md").read_text()
    rows = json.loads((root / "table6.json").read_text())["rows"]
    cells = {
        method: {definition: [tuple(cell) for cell in row] for definition, row in rows[method].items()}
        for method in rows
    }
    assert markdown(cells, SEEDS, "table6", "frames of the data") == text
    assert text in result.stdout
    assert "| | published | 0.0122 ± 0.0013 | 0.0448 ± 0.0125 | 0.1110 ± 0.0060 | 0.5040 ± 0.1500 |" in text
    assert (root / "free-energy.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_a_row_is_made_of_runs_such_as_one_makes_alone(table: tuple[Path, Result], guest: User):
    root, _ = table
    alone = guest.run("run", "mueller-brown", "--method", "diffusion", "--recipe", "paper", *SMALL)
    assert alone.returncode == 0, alone.stderr
    single = json.loads((guest.home / "runs" / "mueller-brown-diffusion-paper" / "metrics.json").read_text())
    # The names of the experts alone differ, by the run that they belong to.
    single["fokker_planck_error"] = {f"diffusion 0 {k}": v for k, v in single["fokker_planck_error"].items()}
    assert single == metrics(root, "diffusion", 0)


@pytest.mark.long
def test_other_settings_are_refused_before_any_run_is_touched(
    table: tuple[Path, Result], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    root, _ = table
    monkeypatch.chdir(root.parents[1])
    before = sorted(root.rglob("*"))
    assert main(["reproduce", "table6", "--methods", "score", "diffusion", *SMALL, "--train.clip", "5"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fokker: error: train.clip: runs/table6/diffusion/seed-0 was made with 1000.0")
    assert err.count("\n") == 1
    assert sorted(root.rglob("*")) == before


def test_statistics_by_hand():
    runs = [
        Metrics(
            {"iid": Scores(js, 1.0), "sim": Scores(4 * js, 2.0)},
            {"iid": Scores(0.5, 1.0), "sim": Scores(js, js)},
        )
        for js in (1.0, 2.0, 6.0)
    ]
    # Mean 3; the squares of −2, −1 and 3 add up to 14, of which each of two degrees of freedom gets 7.
    root7 = 7**0.5
    assert _cells(runs) == {
        "paper": [(3.0, pytest.approx(root7)), (12.0, pytest.approx(4 * root7)), (1.0, 0.0), (2.0, 0.0)],
        "corrected": [
            (0.5, 0.0),
            (3.0, pytest.approx(root7)),
            (1.0, 0.0),
            (3.0, pytest.approx(root7)),
        ],
    }
    assert _cells(runs[:1])["paper"] == [(1.0, None), (4.0, None), (1.0, None), (2.0, None)]


def test_markdown_has_the_published_row_below_ours():
    cells = {"paper": [(0.0123, 0.0004)] * 4, "corrected": [(0.02, 0.001)] * 4}
    lines = markdown({"both": cells, "two-for-one": cells}, 3, "table6").splitlines()
    assert "this work: 3 seeds, published: ten" in lines[0]
    ours = "| this work |" + " 0.0123 ± 0.0004 |" * 4 + " 0.0200 ± 0.0010 |" * 2
    assert lines[-3:] == [
        f"| both {ours}",
        "| | published | 0.0110 ± 0.0007 | 0.0108 ± 0.0008 | 0.0980 ± 0.0030 | 0.0990 ± 0.0040 | | |",
        f"| two-for-one {ours}",
    ]
    assert len({line.count("|") for line in lines[3:]}) == 1


def test_one_seed_has_no_deviation():
    cells = {"paper": [(0.0123, None)] * 4, "corrected": [(0.02, None)] * 4}
    lines = markdown({"two-for-one": cells}, 1, "table6", "samples of the model").splitlines()
    assert "this work: one seed" in lines[0]
    assert lines[1].endswith(" Chains of simulations start at samples of the model.")
    assert lines[-1] == "| two-for-one | this work |" + " 0.0123 |" * 4 + " 0.0200 |" * 2


def test_peptides_give_the_deviation_of_one_seed_and_quoted_rows_stand_last():
    kinds, spread = (
        {kind: s for kind in ("iid", "sim", "floor")} for s in (Scores(0.1, 0.2), Scores(0.01, 0.02))
    )
    cells = _cells([replace(RESULT, paper=kinds, corrected=kinds, sd=Metrics(spread, spread))])
    assert cells["paper"] == [(0.1, 0.01), (0.1, 0.01), (0.2, 0.02), (0.2, 0.02)]
    lines = markdown({"both": cells}, 1, "table2").splitlines()
    assert "one seed, ± over peptides" in lines[0]
    assert lines[-1] == "| transferable BG | published | 0.0183 ± 0.0070 | – | 0.2300 ± 0.1190 | – | | |"


@pytest.mark.parametrize("table", ["table1", "table2"])
def test_published_values_of_molecules_are_those_of_the_papers_text(table: str):
    if not PAPER.exists():
        pytest.skip(f"{PAPER} is not here")
    text = PAPER.read_text()
    end = text.index(f"Table {table[-1]}: Comparison")
    part = text[text.rindex("Method\tiid JS", 0, end) : end]
    pairs = re.findall(r"([0-9]\.\d+)\D{1,30}?([0-9]\.\d+)", re.sub(r"\\textbf|[{}$]|=", "", part))
    printed = sorted((float(mean), float(deviation)) for mean, deviation in pairs)
    assert printed == sorted(cell for row in PUBLISHED[table].values() for cell in row if cell)


def test_published_values_are_those_of_the_papers_text():
    if not PAPER.exists():
        pytest.skip(f"{PAPER} is not here")
    text = PAPER.read_text()
    table = text[text.index("illustrate the results in Table 6") : text.index("Table 6: Comparison")]
    pairs = re.findall(r"(0\.\d+)\D{1,30}?(0\.\d+)", re.sub(r"\\textbf|[{}$]|=", "", table))
    printed = [(float(mean), float(deviation)) for mean, deviation in pairs]
    # The reference's values stand once for both columns, and three rows are printed column by column.
    reference, diffusion, *others = PUBLISHED["table6"].values()
    assert printed[:6] == [reference[0], reference[2], *diffusion]
    assert printed[6:] == [row[column] for column in range(4) for row in others]
