"""Two jobs on the same nodes at the same time: each has a Ray of its own, with what Slurm gave it."""

import json
import sys
from pathlib import Path

from ..faults.conftest import wait_for
from .conftest import OWN, Slurm, rendered

# Stands for the run; what waits for the nodes is the real one.
FOKKER = f"""#!{sys.executable}
import json, os, sys, time
from pathlib import Path
if sys.argv[1] == "slurm":
    os.execv({str(Path(sys.executable).with_name("fokker"))!r}, sys.argv)
import ray
from fokker.distributed.cluster import joining
from fokker.distributed.config import ClusterConfig

meeting, mine = Path(os.environ["MEETING"]), os.environ["SLURM_JOB_ID"]
(meeting / mine).write_text(os.environ["RAY_ADDRESS"])
while len([*meeting.glob("[0-9]*")]) < 2:
    time.sleep(0.1)
(other,) = (path.read_text() for path in meeting.glob("[0-9]*") if path.name != mine)
try:
    joining.connect(ClusterConfig(address=other))
    refused = ""
except joining.ClusterError as error:
    refused = str(error)
joining.connect(ClusterConfig())
found = ray.cluster_resources()

@ray.remote(num_gpus=1)
def visible():
    time.sleep(1)
    return ray.get_runtime_context().get_node_id(), os.environ["CUDA_VISIBLE_DEVICES"]

gpus = ray.get([visible.remote() for _ in range(int(found.get("GPU", 0)))])
told = {{"cpus": found["CPU"], "gpus": gpus, "refused": refused, "address": os.environ["RAY_ADDRESS"]}}
(meeting / f"told-{{mine}}").write_text(json.dumps(told))
"""


def test_jobs_on_the_same_nodes_have_what_is_theirs_and_do_not_meet(slurm: Slurm, tmp_path: Path):
    stand_in = tmp_path / "fokker"
    stand_in.write_text(FOKKER)
    stand_in.chmod(0o755)
    environment = {"MEETING": str(tmp_path), "PATH": f"{tmp_path}:{slurm.environment['PATH']}"}
    common = ("mueller-brown", "--nodes", "2", "--cpus-per-task", "1", f"--temp-dir={OWN}")
    jobs = [
        slurm.submit(rendered(tmp_path / f"{name}.sbatch", *common, *words), tmp_path, **environment)
        for name, words in (("gpus", ("--gpus-per-node", "1")), ("cpus", ()))
    ]
    for job in jobs:
        wait_for(
            lambda job=job: slurm.state(job) not in ("PENDING", "RUNNING", "COMPLETING"),
            lambda: "".join(path.read_text() for path in tmp_path.glob("*.out")),
        )
    assert [slurm.state(job) for job in jobs] == ["COMPLETED", "COMPLETED"]
    on_gpus, on_cpus = (json.loads((tmp_path / f"told-{job}").read_text()) for job in jobs)
    assert on_gpus["cpus"] == on_cpus["cpus"] == 2
    assert len({node for node, _ in on_gpus["gpus"]}) == 2
    assert [devices for _, devices in on_gpus["gpus"]] == ["0", "0"]
    assert on_cpus["gpus"] == []
    assert on_gpus["address"] != on_cpus["address"]
    assert all("the Ray cluster there wants its own token" in told["refused"] for told in (on_gpus, on_cpus))
    assert [slurm.left(job, tmp_path) for job in jobs] == [[], []]
