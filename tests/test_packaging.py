"""The wheel holds `fokker` and nothing else, and no folder of the checkout is a package of its own."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from contextlib import suppress
from functools import cache
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FOLDERS = ("model", "data", "analysis", "distributed", "launch")
NAMES = (*FOLDERS, "tests", "benchmarks")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
(VERSION,) = re.findall(
    r'^__version__ = "(.+)"$', (ROOT / "fokker" / "__init__.py").read_text(), re.MULTILINE
)


@cache
def tracked() -> tuple[str, ...]:
    """Files of the checkout that git knows."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to it is not known")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(name for name in done.stdout.split("\0") if name and (ROOT / name).exists())


def pages() -> dict[str, Path]:
    """Files of docs/ that ship with the package."""
    return {name: ROOT / name for name in tracked() if re.fullmatch(r"docs/[^/]+\.md", name)}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files, as of a fresh clone."""
    clone = tmp_path_factory.mktemp("clones") / "fokker"
    for name in tracked():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name, follow_symlinks=False)
    return clone


def built(kind: str, source: Path, out: Path) -> Path:
    """The only file that setuptools makes of a source: its `wheel`, `sdist` or `editable`."""
    script = f"from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", script], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip builds."""
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps"]
    done = subprocess.run(
        [*pip, "--no-build-isolation", "--no-index", "--wheel-dir", str(out), str(clone)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return path


def python(script: str, cwd: Path, *options: str) -> list[str]:
    """Lines that a fresh Python prints."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHON"))
    }
    done = subprocess.run(
        [sys.executable, *options, "-c", script], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


# The wheel


def test_wheel_holds_every_file_of_the_folders_and_nothing_beside_the_package(wheel: Path):
    sources = {f"fokker/{name}": ROOT / name for name in tracked() if name.split("/")[0] in FOLDERS}
    sources |= {
        f"fokker/{name}": ROOT / "fokker" / name
        for name in ("__init__.py", "__main__.py", "comparison.py", "py.typed", "runs.py")
    }
    sources |= {f"fokker/{name}": path for name, path in pages().items()}
    assert "fokker/analysis/report/report.html.jinja" in sources
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not re.match(r"fokker-[^/]*\.dist-info/", name)]
        assert sorted(names) == sorted(sources)
        assert not [name for name in names if archive.getinfo(name).external_attr >> 28 == 0o12], "links"
        for name, source in sources.items():
            assert archive.read(name) == source.read_bytes(), name


def test_wheel_has_licence_and_command(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (info,) = {name.split("/")[0] for name in archive.namelist()} - {"fokker"}
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        assert "License-Expression: Apache-2.0\n" in archive.read(f"{info}/METADATA").decode()
        commands = archive.read(f"{info}/entry_points.txt").decode().split("\n")
    assert [line for line in commands if line] == [
        "[console_scripts]",
        "fokker = fokker.__main__:main",
    ]


def test_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path):
    """Its modules come from it, the report and the job of Slurm find templates, and `help` its pages."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path / "installed")!r})
from fokker.analysis.report import page
from fokker.analysis.results import Metrics, Scores
print(page.__file__)
scores = dict.fromkeys(("iid", "sim", "floor", "floor_sim"), Scores(0.01, 0.1))
print(len(page.render(page.Report("t", "s", Metrics(scores, scores), [], [], [], {{}}))) > 1000)
from fokker.launch.cli import parse, slurm
print(slurm.script(parse(["slurm", "render", "mueller-brown"])).partition("\\n")[0])
from fokker.launch import pages
print(all(map(pages.title, pages.TOPICS)))
"""
    file, rendered, job, titled = python(script, tmp_path, "-I")
    assert Path(file) == tmp_path / "installed" / "fokker" / "analysis" / "report" / "page.py"
    assert (rendered, job, titled) == ("True", "#!/bin/bash", "True")


def test_the_command_without_its_extras_says_what_to_install(tmp_path: Path):
    script = "import sys; sys.modules['tyro'] = None; from fokker.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "fokker: error: tyro is not installed: pip install 'fokker[train,cluster]'\n"


def test_the_citation_is_that_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == VERSION
    assert citation["license"] == PROJECT["license"]
    assert f"\n## {VERSION}" in (ROOT / "CHANGELOG.md").read_text()


def test_hooks_before_a_commit_are_tools_of_the_environment():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    tools = {Requirement(line).name for line in PROJECT["optional-dependencies"]["dev"]}
    for hook in local["hooks"]:
        folder, _, tool = hook["entry"].split()[0].rpartition("/")
        assert (folder, tool in tools) == (".venv/bin", True)


def test_source_distribution_makes_the_same_wheel(wheel: Path, clone: Path, tmp_path: Path):
    for name in ("sdist", "unpacked", "wheel"):
        (tmp_path / name).mkdir()
    with tarfile.open(built("sdist", clone, tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(built("wheel", source, tmp_path / "wheel")) as other:
        assert {entry.filename: entry.CRC for entry in one.infolist()} == {
            entry.filename: entry.CRC for entry in other.infolist()
        }


# What can be imported


def test_editable_install_is_found_from_the_folder_that_contains_the_checkout(clone: Path, tmp_path: Path):
    """There the checkout itself could be taken for a namespace package; and no other name is added."""
    (tmp_path / "wheel").mkdir()
    with zipfile.ZipFile(built("editable", clone, tmp_path / "wheel")) as archive:
        archive.extractall(tmp_path / "site")
    script = f"""
import site, sys
sys.path.insert(0, {str(clone.parent)!r})
site.addsitedir({str(tmp_path / "site")!r})
import fokker, importlib.util
print(fokker.__file__, fokker.__version__)
print([name for name in {NAMES} if importlib.util.find_spec(name)])
"""
    assert python(script, clone.parent, "-I", "-S") == [
        f"{clone / 'src' / 'fokker' / '__init__.py'} {VERSION}",
        "[]",
    ]


def test_no_folder_of_the_checkout_is_a_top_level_package(tmp_path: Path):
    script = f"""
for name in {NAMES}:
    try:
        print(name, "is", __import__(name))
    except ModuleNotFoundError as error:
        print(error)
import fokker.data
print(fokker.data.__name__)
"""
    expected = [f"No module named '{name}'" for name in NAMES]
    assert python(script, tmp_path, "-I") == [*expected, "fokker.data"]


def test_nor_inside_a_ray_worker_of_a_driver_in_the_checkout():
    """Ray would put the driver's folder on the path of the workers."""
    script = f"""
import importlib.util, ray
from fokker.distributed.cluster import joining
from fokker.distributed.config import ClusterConfig
joining.connect(ClusterConfig())
found = ray.remote(lambda: [name for name in {(*NAMES, "fokker")} if importlib.util.find_spec(name)])
print(ray.get(found.remote()))
joining.leave()
"""
    assert python(script, ROOT)[-1] == "['fokker']"


def test_help_imports_neither_jax_nor_ray(tmp_path: Path):
    script = """
import sys
from fokker.launch import cli
for argv in ["--help"], ["run", "mueller-brown", "--help"], ["run", "mueller-brown", "--seed", "x"]:
    cli.main(argv)
print(sorted({"jax", "ray", "flax", "orbax", "grain", "matplotlib", "scipy"} & sys.modules.keys()))
"""
    printed = python(script, tmp_path, "-I")
    assert printed[-1] == "[]"
    assert any("--train.batch-size" in line for line in printed), "no help was printed"


def test_no_module_starts_a_backend_of_jax_when_it_is_imported(tmp_path: Path):
    """Arrays made on import would keep `jax.distributed` from starting."""
    modules = [
        f"fokker.{name.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}"
        for name in tracked()
        if name.split("/")[0] in FOLDERS and name.endswith(".py")
    ]
    assert "fokker.model.dynamics.langevin" in modules
    script = f"""
import importlib
from jax._src import xla_bridge
for name in {modules}:
    importlib.import_module(name)
    if xla_bridge._backends:
        print(name)
        break
import jax.numpy
jax.numpy.ones(1)
print(bool(xla_bridge._backends))
"""
    assert python(script, tmp_path, "-I") == ["True"]


# The locks

LOCKS = {
    "requirements.lock": ("cluster", "hdf5", "kinetics", "openmm", "tensorboard", "train"),
    "requirements-dev.lock": ("dev",),
    "requirements-cuda.lock": ("cuda",),
    "requirements-docs.lock": ("docs",),
}
"""Files and the extras that they add; the first also has what the package always needs."""


def locked(lock: str) -> dict[str, list[Requirement]]:
    """What a lock pins, by name."""
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / lock).read_text().replace("\\\n", " ").splitlines():
        pinned = Requirement(line.split(" --hash=")[0])
        found.setdefault(pinned.name, []).append(pinned)
    return found


def _required(name: str, extra: str) -> list[Requirement]:
    requirements = map(Requirement, metadata.requires(name) or ())
    return [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": extra})]


def needed(*extras: str) -> set[str]:
    """Names of all that the package with these extras needs here, as far as what is installed says."""
    texts = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    wanted = [Requirement(text) for text in chain(*texts)]
    seen: set[tuple[str, str]] = set()
    while wanted:
        one = wanted.pop()
        for pair in {(canonicalize_name(one.name), extra) for extra in ("", *one.extras)} - seen:
            seen.add(pair)
            with suppress(metadata.PackageNotFoundError):
                wanted += _required(*pair)
    return {name for name, _ in seen}


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_hold_versions_and_hashes_and_no_index(lock: str):
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted", text)
    for line in text.replace("\\\n", " ").splitlines():
        _, *hashes = (part.strip() for part in line.split(" --hash="))
        assert hashes, line
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes)
    for pinned in chain(*locked(lock).values()):
        assert [specifier.operator for specifier in pinned.specifier] == ["=="], pinned
        assert pinned.name == canonicalize_name(pinned.name)


def test_locks_have_every_dependency_in_a_version_that_fits():
    versions = {name: found for lock in LOCKS for name, found in locked(lock).items()}
    extras = chain(*LOCKS.values())
    texts = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    for wanted in (Requirement(text) for text in chain(*texts)):
        found = versions.get(canonicalize_name(wanted.name), [])
        assert found, f"{wanted.name} is in no lock: make lock"
        for pinned in found:
            (specifier,) = pinned.specifier
            assert wanted.specifier.contains(specifier.version), f"{pinned} is not {wanted}: make lock"


def here(lock: str) -> set[str]:
    """What a lock has for this platform."""
    return {
        name
        for name, found in locked(lock).items()
        if any(pinned.marker is None or pinned.marker.evaluate() for pinned in found)
    }


def test_no_package_is_in_two_locks():
    """So all that is installed from several of them agrees."""
    one, *others = map(here, LOCKS)
    for other in others:
        assert not one & other
        one |= other


def test_each_lock_holds_what_its_extras_need_and_no_more():
    """Tools of developers in requirements.lock would go into every image."""
    used = LOCKS["requirements.lock"]
    for lock, extras in LOCKS.items():
        there = needed(*used, *(("dev",) if "docs" in extras else ())) if extras != used else set()
        wanted = needed(*used, *extras) - there
        found = here(lock)
        assert wanted <= found, f"{wanted - found} is not in {lock}: make lock"
        if not {"cuda", "docs"} & {*extras}:  # What is not installed does not say what it needs.
            assert found <= wanted, f"{found - wanted} does not belong into {lock}: make lock"
