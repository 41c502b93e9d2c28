"""Which device computes, the ways in which it can fail, and the memory that was needed."""

from __future__ import annotations

import os
import re
from pathlib import Path

from geobench.errors import SettingError

MOST_WORKERS = 16  # beside one process that encodes


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
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # streams, graphs and events are those of the current one
    return name


def describe_device(device: str) -> str:
    """Return what computed, for the record of a run, such as ``cuda: NVIDIA H100``."""
    import platform

    import torch

    if device.startswith("cuda"):
        return f"{device}: {torch.cuda.get_device_name(device)}"
    return f"cpu: {platform.machine()}, {torch.get_num_threads()} threads"


def peak_memory_mb() -> float:
    """Return the most memory in MiB that this process has held at once."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        found = None
    if found is not None:
        return round(int(found[1]) / 1024, 1)
    import resource  # not on Linux; a process that another one started begins with that one's size here
    import sys

    scale = 1024**2 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale, 1)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Return how many threads torch computes with here."""
    import torch

    return torch.get_num_threads()


def default_workers(device: str) -> int:
    """Return how many processes decode for one that encodes: its share of the cores of this machine.

    Beside an encoder on the CPU there are none: it needs the cores itself, and a thread of its process decodes.
    """
    if device == "cpu":
        return 0
    return max(1, min(MOST_WORKERS, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
