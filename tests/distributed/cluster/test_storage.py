import fcntl
import os
from pathlib import Path

import pytest

from fokker.data.files import FileError
from fokker.distributed.cluster import storage

TABLE = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:50 / /mnt/bucket rw - fuse.gcsfuse gcsfuse rw,user_id=0
41 22 0:51 / /mnt/two\040words rw - fuse.s3fs s3fs rw
42 22 0:52 / /mnt/s3 rw master:7 - fuse mountpoint-s3 rw
43 22 0:53 / /mnt/shared rw - nfs4 server:/export rw
44 43 0:54 / /mnt/shared/scratch rw - tmpfs none rw
45 44 0:55 / /mnt/shared/scratch rw - xfs /dev/sdb rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/runs", "ext4"),
        ("/mnt/bucket/runs/mine", "fuse.gcsfuse"),
        ("/mnt/two words/runs", "fuse.s3fs"),
        ("/mnt/s3", "fuse"),
        ("/mnt/shared", "nfs4"),
        ("/mnt/shared/scratch/runs", "xfs"),
        ("/mnt/sharedbeside", "ext4"),
    ],
)
def test_a_path_is_on_the_file_system_of_its_longest_mount_point(path: str, kind: str, tmp_path: Path):
    table = tmp_path / "mountinfo"
    table.write_text(TABLE.strip())
    assert storage.mounted(Path(path), table)[0] == kind


def test_the_file_system_of_a_real_mount_is_found(small_disk: Path):
    assert storage.mounted(small_disk / "not" / "there")[0] == "tmpfs"


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        (("fuse.gcsfuse", "gcsfuse"), "GCS FUSE"),
        (("fuse.gcsfuse", "my-bucket"), "GCS FUSE"),
        (("fuse.s3fs", "s3fs"), "s3fs"),
        (("fuse", "mountpoint-s3"), "Mountpoint for S3"),
    ],
)
def test_an_object_store_is_refused_by_name(
    mount: tuple[str, str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(storage, "mounted", lambda folder: mount)
    with pytest.raises(FileError, match=rf"runs lies on {words}, .*NFS, Filestore, FSx, EFS.*data may stay"):
        storage.require_no_objects(tmp_path / "runs")


def test_a_folder_of_this_machine_holds_a_run_and_nothing_is_left_in_it(tmp_path: Path):
    assert storage.require(tmp_path / "runs" / "mine", hosts=False) == []
    assert list((tmp_path / "runs" / "mine").iterdir()) == []


def test_the_only_host_of_a_cluster_is_tried_by_a_process_there(tmp_path: Path, ray_cluster):
    assert storage.require(tmp_path, hosts=True) == []
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_does_not_see_the_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(storage, "SEEN_SECONDS", 0.5)
    tried = storage.attempt(tmp_path / "elsewhere", "token", "host7")
    assert (tried.host, tried.problem) == ("host7", "it does not see what the driver wrote there")


def test_a_place_that_takes_no_files_is_one_line(read_only: Path):
    with pytest.raises(FileError, match=r"cannot be written: read-only file system"):
        storage.require(read_only / "runs", hosts=False)


def test_a_lock_of_the_driver_that_keeps_nobody_out_is_noticed(tmp_path: Path):
    (tmp_path / "driver").write_text("token")
    with open(tmp_path / "lock", "w") as lock:
        assert not storage.attempt(tmp_path, "token", "host").locks
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert storage.attempt(tmp_path, "token", "host").locks
    assert os.listdir(tmp_path)
