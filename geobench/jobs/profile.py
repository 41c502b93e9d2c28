"""What a job asks a cluster for: a small TOML file, ``GEOBENCH_HOME/clusters/NAME.toml`` or any other."""

from __future__ import annotations

import tomllib
from pathlib import Path

from geobench import files
from geobench.errors import SettingError, unknown_name
from geobench.settings import setting, settings
from geobench.settings.declarations import validate

SLURM = "slurm"
"""The profile that needs no file: it then asks for nothing but what the cluster gives by itself."""
WARNING_S = 90
"""A job is told to save this long before its time is over, or a quarter of its time if that is less."""


@settings
class Profile:
    """What each job asks for. Empty and 0 leave the choice to the cluster."""

    partition: str = setting("", "partition")
    account: str = setting("", "account that is charged")
    qos: str = setting("", "quality of service")
    constraint: str = setting("", "features that a node must have")
    nodes: int = setting(1, "nodes of a job; a training with several is one training on all of them", ge=1)
    gpus_per_node: int = setting(0, "GPUs on each node, one process for each", ge=0)
    cpus_per_task: int = setting(0, "cores of each process", ge=0)
    mem_gb: float = setting(0.0, "memory of each node in GB", ge=0)
    minutes: int = setting(240, "time of a job; what is not done by then goes on in the same job, queued again", ge=1)
    parallel: int = setting(256, "jobs of an array that run at once", ge=1)
    requeues: int = setting(100, "how often a job may run out of time", ge=0)
    retries: int = setting(1, "how often a job that died is submitted again", ge=0)
    setup: tuple[str, ...] = setting((), "shell commands before the job, such as module load cuda")

    @property
    def processes(self) -> int:
        """Return the number of processes of a job, which train together."""
        return self.nodes * max(1, self.gpus_per_node)

    @property
    def warning_s(self) -> int:
        """Return how many seconds before the end of its time a job is told to save."""
        return min(WARNING_S, self.minutes * 60 // 4)

    def check_single(self, what: str) -> None:
        """Raise ``SettingError`` if a job has more than the one process that ``what`` can use."""
        if self.processes > 1:
            raise SettingError(
                f"{what} uses one process a job, and this profile has {self.processes} (nodes = {self.nodes}, "
                f"gpus_per_node = {self.gpus_per_node}); set nodes = 1 and gpus_per_node = 0 or 1."
            )


def read_profile(name: str) -> Profile:
    """Return the profile ``name``: ``slurm``, that of a file ``GEOBENCH_HOME/clusters/NAME.toml``, or ``FILE.toml``.

    Raises:
        UnknownNameError: there is no such profile.
        SettingError: the file cannot be read, or a key or value of it does not fit.
    """
    folder = files.home() / "clusters"
    path = Path(name).expanduser() if name.endswith(".toml") else folder / f"{name}.toml"
    if not path.is_file():
        if name == SLURM:
            return validate(Profile, {}, SLURM, SettingError)
        if name.endswith(".toml"):
            raise SettingError(f"{name}: there is no such profile; write what a job asks for, such as: minutes = 240")
        known = {SLURM, *(found.stem for found in folder.glob("*.toml"))}
        raise unknown_name("cluster profile", name, known)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"{path} is not a readable profile: {error}") from error
    return validate(Profile, values, str(path), SettingError)
