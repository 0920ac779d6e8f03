"""What a process may have of its machine: made-up control groups, and folders as bad as users' are."""

import os
from pathlib import Path

import pytest

from fokker.data.files import FileError
from fokker.distributed.cluster import machine

ALLOWED = 8


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes control groups of these files, for a process that may run on eight CPUs; the CPUs it gets."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(ALLOWED)), raising=False)

    def count(own: str, files: dict[str, str]) -> int:
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "root" / name).write_text(text)
        return machine.allowed_cpus(tmp_path / "own", tmp_path / "root")

    return count


@pytest.fixture(autouse=True)
def no_folder_yet(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "_scratch", None)
    yield
    machine.remove_scratch()


# CPUs


def test_without_control_groups_those_of_the_affinity_count(groups):
    assert groups("", {}) == ALLOWED
    assert machine.allowed_cpus(Path("/nonexistent")) == ALLOWED


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [
        *(("max 100000", ALLOWED), ("400000 100000", 4), ("150000 100000", 2), ("140000 100000", 1)),
        *(("10000 100000", 1), ("250000 100000", 3), ("6400000 100000", ALLOWED), ("", ALLOWED)),
    ],
)
def test_a_share_of_version_2_is_rounded_and_at_least_one(groups, quota: str, cpus: int):
    assert groups("0::/user/job\n", {"user/job/cpu.max": f"{quota}\n"}) == cpus


@pytest.mark.parametrize(("quota", "cpus"), [(-1, ALLOWED), (300_000, 3), (50_000, 1)])
@pytest.mark.parametrize("folder", ["cpu,cpuacct", "cpu"])
def test_a_share_of_version_1_counts_as_well(groups, quota: int, cpus: int, folder: str):
    own = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n"
    files = {"cpu.cfs_quota_us": f"{quota}\n", "cpu.cfs_period_us": "100000\n"}
    assert groups(own, {f"{folder}/docker/abc/{name}": text for name, text in files.items()}) == cpus


def test_the_smallest_share_of_all_groups_above_counts(groups):
    files = {"cpu.max": "max 100000", "slurm/cpu.max": "200000 100000", "slurm/job/cpu.max": "500000 100000"}
    assert groups("0::/slurm/job/step\n", files) == 2


def test_in_a_container_that_sees_only_its_own_group_that_one_counts(groups):
    assert groups("0::/system.slice/docker-abc.scope\n", {"cpu.max": "200000 100000"}) == 2


# Folders


def test_the_folder_is_private_the_same_each_time_and_removed_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    short = tmp_path.parent if len(str(tmp_path)) > 20 else tmp_path
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/dev/shm" if Path("/dev/shm").is_dir() else str(short))
    folder = machine.scratch()
    assert folder.parent == Path(os.environ["TMPDIR"])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert machine.scratch() == folder
    machine.remove_scratch()
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["long", "missing", "file", "relative"])
def test_a_bad_folder_for_temporary_files_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    bad = {"long": tmp_path / ("x" * 90), "missing": tmp_path / "none", "file": tmp_path / "file"}
    (tmp_path / ("x" * 90)).mkdir()
    (tmp_path / "file").touch()
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.setenv(name, str(bad.get(kind, "not/there")))
    folder = machine.scratch() / machine.RAY
    assert not folder.is_relative_to(tmp_path)
    longest = folder / "session_2026-11-27_19-37-56_302757_4194304" / "sockets" / "plasma_store.1"
    assert len(os.fsencode(longest)) <= 107


def test_a_read_only_folder_for_temporary_files_is_passed_over(
    read_only: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine, "RAY_BYTES", 0)  # The folders of tests are long.
    monkeypatch.setenv("RAY_TMPDIR", str(read_only))
    assert machine.scratch().parent != read_only


def test_where_there_is_none_at_all_one_line_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "RAY_BYTES", 100)
    monkeypatch.setenv("TMPDIR", "/somewhere")
    with pytest.raises(FileError, match=r"none of .*/somewhere.* of at most .* name one in RAY_TMPDIR"):
        machine.scratch()


# Homes


@pytest.mark.parametrize("home", ["/nonexistent/home", "/proc"])
def test_without_a_home_what_jax_compiles_stays_with_the_process(home: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", home if os.getuid() or home == "/proc" else "/proc/nonexistent")
    assert machine.compilations() == str(machine.scratch() / "jax")


def test_with_a_home_it_is_kept_there_and_what_the_user_says_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert machine.compilations() == str(tmp_path / "home/.cache/fokker/jax")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert machine.compilations() == str(tmp_path / "caches/fokker/jax")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/mine")
    assert machine.compilations() == "/mine"


def test_matplotlib_gets_a_folder_only_where_it_has_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    machine.prepare_matplotlib()
    assert "MPLCONFIGDIR" not in os.environ
    monkeypatch.setenv("HOME", "/proc")
    machine.prepare_matplotlib()
    assert os.environ["MPLCONFIGDIR"] == str(machine.scratch() / "matplotlib")
    monkeypatch.delenv("MPLCONFIGDIR")
