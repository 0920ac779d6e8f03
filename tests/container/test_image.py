"""What is in the image, and that it works as Kubernetes starts it."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

from packaging.utils import canonicalize_name

from ..test_packaging import FOLDERS, NAMES, ROOT, VERSION, locked, pages, tracked
from .conftest import HOST, Image, timed

NOBODY = 54321
"""A user whom the image does not know."""

SMALL = [
    *("--method", "fokker-planck", "--data.frames", "2000", "--data.chains", "100", "--data.burn-in", "1000"),
    *("--experts.0.epochs", "2", "--experts.0.hidden", "8", "--sample.evaluations", "10"),
    *("--sample.samples", "200", "--sample.chunk", "200", "--simulate.frames", "100"),
    *("--simulate.chains", "20", "--simulate.chunk", "5", "--simulate.stride", "10"),
    *("--simulate.burn-in", "100"),
]


def python(image: Image, script: str):
    """What a script prints as JSON in the image."""
    return json.loads(image.run("python", "-c", f"import json\n{script}"))


# What is in it


def test_it_holds_the_lock_the_package_and_pip(image: Image):
    script = """
from importlib.metadata import distributions
from packaging.markers import default_environment
found = {one.name: one.version for one in distributions()}
print(json.dumps([found, dict(default_environment())]))"""
    found, environment = python(image, script)
    expected = {"fokker": VERSION, "pip": found["pip"]} | {
        pinned.name: specifier.version
        for pins in locked("requirements.lock").values()
        for pinned in pins
        if pinned.marker is None or pinned.marker.evaluate(environment)
        for specifier in pinned.specifier
    }
    assert {canonicalize_name(name): version for name, version in found.items()} == expected


def test_it_holds_every_file_of_the_package_and_no_other_name(image: Image):
    script = f"""
import hashlib, importlib.util, pathlib, fokker
folder = pathlib.Path(fokker.__file__).parent
files = {{
    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in folder.rglob("*")
    if path.is_file() and path.suffix != ".pyc"
}}
print(json.dumps([files, [name for name in {NAMES} if importlib.util.find_spec(name)]]))"""
    files, names = python(image, script)
    assert names == []
    sources = {name: ROOT / name for name in tracked() if name.split("/")[0] in FOLDERS}
    sources |= {path.name: path for path in (ROOT / "fokker").iterdir() if path.is_file()} | pages()
    assert files == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sources.items()}


def test_bytecode_stays_valid_when_times_of_files_change(image: Image):
    """It names hashes: flags 3 in its header. Containers cannot write their own."""
    script = """
import fokker, jax, pathlib, ray
from importlib.util import cache_from_source
modules = fokker, jax, ray, pathlib
flags = [pathlib.Path(cache_from_source(module.__file__)).read_bytes()[4] for module in modules]
print(json.dumps(flags))"""
    assert python(image, script) == [3, 3, 3, 3]


def test_nothing_of_the_build_is_left(image: Image):
    """Neither pip's settings, which may hold passwords, nor what was downloaded, nor tools."""
    assert HOST not in image.description
    search = ("grep", "--recursive", "--devices=skip", "--files-with-matches", "--fixed-strings", HOST)
    done = subprocess.run([*search, image.root], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", ""), "pip's settings name that folder"
    caches = ("root/.cache", "var/cache", "var/lib/apt/lists")
    assert not [path for name in caches for path in (image.root / name).glob("*")]
    assert not [name for name in ("checkout", "usr/bin/cc", "usr/bin/git") if (image.root / name).exists()]


# What it does


def test_commands_are_on_the_path_of_a_user_without_rights(image: Image):
    assert image.run("id", "--user") == "1000"
    assert image.run("fokker", "--version") == f"fokker {VERSION}"
    (ray,) = (one.specifier for one in locked("requirements.lock")["ray"])
    assert image.run("ray", "--version") == f"ray, version {str(ray)[2:]}"
    for command in ("tensorboard", "py-spy"):
        assert image.run("bash", "-c", f"{command} --version")


def test_a_run_into_a_mounted_folder(image: Image, tmp_path: Path):
    os.chown(tmp_path, 1000, 1000)
    words = ("run", "mueller-brown", "--name", "small", "--runs-dir", "/runs", *SMALL)
    with timed("a Müller-Brown run of 30 steps"):
        image.run("fokker", *words, volume=f"{tmp_path}:/runs")
    made = tmp_path / "small"
    assert (made / "report.html").stat().st_uid == 1000
    events = map(json.loads, (made / "events.jsonl").read_text().splitlines())
    assert [event["step"] for event in events if event["event"] == "finished"] == [30]


def test_a_job_on_a_cluster_in_a_restricted_pod(image: Image):
    """The head is started by Bash, as KubeRay does, and trains; TensorBoard answers beside it."""
    words = " ".join(("mueller-brown", "--name", "pod", "--runs-dir", "/tmp/runs", *SMALL))
    script = f"""
ulimit -n 65536
set -e
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN={"0123456789abcdef" * 4}
ray start --head --num-cpus=2 --node-ip-address=127.0.0.1 --dashboard-host=0.0.0.0
tensorboard --logdir /tmp/runs >/tmp/tensorboard.log 2>&1 &
fokker data {words}
timeout 120 bash -c 'until ray job list; do sleep 1; done' >/dev/null 2>&1
ray job submit -- fokker train {words}
fokker checkpoint verify /tmp/runs/pod
python -c 'from urllib.request import urlopen; print(urlopen("http://localhost:6006/data/environment").read())'
if touch /opt/fokker/new; then exit 1; fi
id"""
    with timed("a cluster and a job of 30 steps in a restricted pod"):
        printed = image.pod(NOBODY, script)
    assert "step 30/30" in printed
    assert '"data_location": "/tmp/runs"' in printed, "no answer of TensorBoard"
    assert f"uid={NOBODY} gid={NOBODY}" in printed
