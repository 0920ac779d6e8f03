"""What lies in examples/ is what the commands beside it print, or take."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from fokker.data.config import MoleculesConfig
from fokker.data.dataset.convert import sources_of
from fokker.distributed.runs.campaign_config import load
from fokker.launch import deploy
from fokker.launch.cli import main, parse

EXAMPLES = Path(__file__).parents[1] / "examples"


def shown(folder: str) -> list[str]:
    """Words of the first command that a folder shows, without where its output goes."""
    (block, *_) = re.findall(r"```bash\n(.*?)```", (EXAMPLES / folder / "README.md").read_text(), re.DOTALL)
    words = shlex.split(block.replace("\\\n", " ").splitlines()[0])
    return words[1 : words.index(">") if ">" in words else None]


def test_every_folder_is_in_the_list():
    listed = re.findall(r"\]\((\w[\w-]*)\)", (EXAMPLES / "README.md").read_text())
    assert sorted(listed) == sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())


def test_the_job_of_slurm_is_what_its_command_prints(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert main(shown("slurm")) == 0
    assert capsys.readouterr().out == (EXAMPLES / "slurm" / "job.sbatch").read_text()


def test_the_job_of_kubernetes_is_what_its_command_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deploy.backend, "on_cpu", lambda: None)  # It computes on CPUs in any case.
    assert main(shown("kubernetes")) == 0
    assert capsys.readouterr().out == (EXAMPLES / "kubernetes" / "job.yaml").read_text()
    added = yaml.safe_load((EXAMPLES / "kubernetes" / "kustomization.yaml").read_text())
    assert added["resources"] == ["job.yaml"]


def test_the_campaign_is_read():
    parse(["campaign", "run", str(EXAMPLES / "campaign" / "toy.yaml")])
    config = load(EXAMPLES / "campaign" / "toy.yaml")
    assert (config.replicas, config.frames) == (100, 400)


def test_the_command_of_the_peptide_takes_its_files(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(EXAMPLES / "my-peptide")
    parse(shown("my-peptide"))
    assert [source.name for source in sources_of(MoleculesConfig(path="."))] == ["LA"]
