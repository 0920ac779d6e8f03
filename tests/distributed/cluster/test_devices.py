"""The table of devices, against what data sheets say, and what JAX calls them."""

import subprocess
import sys

import pytest

from fokker.distributed.cluster.devices import DEVICES, Compute, peak


@pytest.mark.parametrize(
    ("kind", "compute", "flops"),
    [
        ("NVIDIA A100-SXM4-80GB", "float32", 19.5e12),
        ("NVIDIA A100-SXM4-80GB", "bfloat16", 312e12),
        ("NVIDIA A100-SXM4-40GB", "float32", 19.5e12),
        ("A100-SXM4-40GB", "float32", 19.5e12),
        ("NVIDIA H100 80GB HBM3", "float32", 67e12),
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989.5e12),
        ("NVIDIA H100 PCIe", "float32", 51e12),
        ("NVIDIA H200", "bfloat16", 989.5e12),
        ("Tesla V100-SXM2-16GB", "float32", 15.7e12),
        ("NVIDIA L40S", "float32", 91.6e12),
        ("NVIDIA A10G", "float32", 35e12),
        ("NVIDIA A10", "float32", 31.2e12),
        ("Tesla T4", "float32", 8.1e12),
    ],
)
def test_peaks_of_what_jax_finds(kind: str, compute: Compute, flops: float):
    assert peak(kind, compute) == flops


@pytest.mark.parametrize(
    "kind",
    [
        "cpu",
        "",
        "NVIDIA",
        "NVIDIA H20",
        "NVIDIA A100-SXM4-80GB MIG 1g.10gb",
        "NVIDIA GeForce RTX 4090",
        "TPU v4",
    ],
)
def test_an_unknown_device_has_no_peak(kind: str):
    """Absent rather than wrong: a part of a device, or one of a similar name, has another peak."""
    assert peak(kind, "float32") is None


def test_no_bfloat16_without_tensor_cores_for_it():
    assert peak("Tesla V100-SXM2-32GB", "bfloat16") is None
    assert DEVICES["v100-32gb"].peak("bfloat16") == DEVICES["v100-32gb"].peak("float32")
    assert DEVICES["a100-80gb"].peak("bfloat16") == 16 * DEVICES["a100-80gb"].peak("float32")


def test_every_device_is_possible():
    kinds = [kind for device in DEVICES.values() for kind in device.kinds]
    assert len(kinds) == len(set(kinds))
    for name, device in DEVICES.items():
        assert device.name == name
        assert 16e9 <= device.memory < 300e9
        assert device.interconnect < device.bandwidth < device.float32 < (device.bfloat16 or 1e15)


def test_the_table_needs_no_jax():
    program = "import sys, fokker.distributed.cluster.devices; print({'jax', 'ray'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
