"""Running tasks elsewhere than here: in processes of this machine, or as jobs of a cluster."""

from geobench.jobs.processes import CrashedTask, Work, run_in_processes

__all__ = ["CrashedTask", "Work", "run_in_processes"]
