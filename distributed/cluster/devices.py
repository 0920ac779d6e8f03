"""What accelerators can do, as their vendor's data sheets say. Free of JAX."""

from dataclasses import dataclass
from typing import Literal

Compute = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Device:
    """One accelerator. float32 is that without tensor cores: networks multiply in all its digits."""

    name: str
    memory: float
    """Bytes."""
    float32: float
    """Peak in FLOP/s."""
    bfloat16: float | None
    """Peak of its tensor cores in FLOP/s, without sparsity; None if it has none for this type."""
    bandwidth: float
    """Of its memory, in bytes/s."""
    interconnect: float
    """To the others of its host, in bytes/s in each direction: NVLink, or PCI Express where there is none."""
    kinds: tuple[str, ...] = ()
    """What JAX calls it and its variants of the same peaks, without the brand."""
    launch: float = 0.8e-6
    """Seconds of an operation of the CPU's program that takes no time otherwise. No data sheet has it:
    one H200 took 0.5 (Müller-Brown) to 1.0 microseconds (alanine dipeptide). A kernel takes longer to start,
    but a GPU's compiler makes fewer of them and starts them together (CUDA graphs)."""
    overlaps: bool = True
    """Arithmetic of some threads goes on while others wait for memory."""
    share: float = 0.75
    """Part of the memory that JAX takes (XLA_PYTHON_CLIENT_MEM_FRACTION)."""

    def peak(self, compute: Compute) -> float:
        """FLOP/s in this type; what the tensor cores lack is float32's."""
        return self.bfloat16 or self.float32 if compute == "bfloat16" else self.float32


_SXM_V100 = (15.7e12, None, 900e9, 150e9)
_SXM_A100 = (19.5e12, 312e12)
_SXM_H100 = (67e12, 989.5e12)
DEVICES = {
    device.name: device
    for device in (
        Device("v100-16gb", 16e9, *_SXM_V100, ("V100-SXM2-16GB",)),
        Device("v100-32gb", 32e9, *_SXM_V100, ("V100-SXM2-32GB",)),
        Device("t4", 16e9, 8.1e12, None, 300e9, 16e9, ("T4",)),
        Device("a10", 24e9, 31.2e12, 125e12, 600e9, 32e9, ("A10",)),
        Device("a10g", 24e9, 35e12, 70e12, 600e9, 32e9, ("A10G",)),
        Device("a40", 48e9, 37.4e12, 149.7e12, 696e9, 32e9, ("A40",)),
        Device("a100-40gb", 40e9, *_SXM_A100, 1555e9, 300e9, ("A100-SXM4-40GB", "A100-PCIE-40GB")),
        Device("a100-80gb", 80e9, *_SXM_A100, 2039e9, 300e9, ("A100-SXM4-80GB", "A100 80GB PCIe")),
        Device("l4", 24e9, 30.3e12, 121e12, 300e9, 32e9, ("L4",)),
        Device("l40s", 48e9, 91.6e12, 362e12, 864e9, 32e9, ("L40S",)),
        Device("h100-pcie", 80e9, 51e12, 756.5e12, 2000e9, 64e9, ("H100 PCIe",)),
        Device("h100-80gb", 80e9, *_SXM_H100, 3350e9, 450e9, ("H100 80GB HBM3",)),
        Device("h200-141gb", 141e9, *_SXM_H100, 4800e9, 450e9, ("H200",)),
    )
}
"""By name; those of several forms in that of a module (SXM), unless the name says otherwise."""


def peak(device_kind: str, compute: Compute) -> float | None:
    """Peak in FLOP/s of what JAX calls `device_kind`, such as 'NVIDIA A100-SXM4-80GB'; None if unknown.

    Parts of a device (MIG) and variants of other clocks are unknown, and so is bfloat16 without tensor cores
    for it.
    """
    kind = device_kind.removeprefix("NVIDIA ").removeprefix("Tesla ")
    for device in DEVICES.values():
        if kind in device.kinds:
            return device.bfloat16 if compute == "bfloat16" else device.float32
    return None
