"""Which device computes, and the ways in which it can fail."""

from __future__ import annotations

from geobench.errors import SettingError


def pick_device(name: str = "auto") -> str:
    """Return the torch device for ``name``: ``auto`` is the GPU where there is one."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingError(f"unknown device {name!r}; there are auto, cpu, cuda, cuda:1, ….") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise SettingError(f"the device {name!r} is not there: torch sees {found} GPUs; --device cpu always works.")
    return name


def describe_device(device: str) -> str:
    """Return what computed, for the record of a run, such as ``cuda: NVIDIA H100``."""
    import platform

    import torch

    if device.startswith("cuda"):
        return f"{device}: {torch.cuda.get_device_name(device)}"
    return f"cpu: {platform.machine()}, {torch.get_num_threads()} threads"
