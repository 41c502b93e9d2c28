"""The device to compute on, the cores available, and peak memory."""

from __future__ import annotations

import os
import re
from pathlib import Path

from geobench.errors import SettingError

MAX_WORKERS = 16  # worker processes for one process that encodes


def pick_device(name: str = "auto") -> str:
    """Return the torch device for ``name``; ``auto`` is the GPU if there is one, else the CPU."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingError(f"unknown device {name!r}; valid are auto, cpu, cuda, cuda:1, ….") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise SettingError(f"the device {name!r} is not available: torch sees {found} GPUs; cpu always works.")
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # streams, graphs and events belong to the current device
    return name


def visible_gpus() -> list[str]:
    """Return the GPUs that this process sees, each as ``CUDA_VISIBLE_DEVICES`` names it; none without CUDA."""
    import torch

    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(number) for number in range(torch.cuda.device_count())]) if torch.cuda.is_available() else []


def describe_device(device: str) -> str:
    """Return a description of ``device`` for the record of a run, such as ``cuda: NVIDIA H100``."""
    import platform

    import torch

    if device.startswith("cuda"):
        return f"{device}: {torch.cuda.get_device_name(device)}"
    return f"cpu: {platform.machine()}, {torch.get_num_threads()} threads"


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process in MiB."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        found = None
    if found is not None:
        return round(int(found[1]) / 1024, 1)
    import resource  # not used on Linux, where a child process inherits the peak of its parent
    import sys

    scale = 1024**2 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale, 1)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Return the number of threads that torch uses."""
    import torch

    return torch.get_num_threads()


def default_workers(device: str) -> int:
    """Return the default number of worker processes that decode: this process's share of the machine's cores.

    It is 0 on a CPU, where the encoder needs the cores itself and a thread of its process decodes.
    """
    if device == "cpu":
        return 0
    return max(1, min(MAX_WORKERS, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
