"""The log of a training run: a JSON line per step, and TensorBoard events if it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from geobench import disk, files

FILE = "log.jsonl"
BOARD = "tensorboard"
ONCE_PER_REPORT = {"lr", "images_per_s", "waited"}  # in TensorBoard, where a scalar costs a tenth of a step on a GPU
LOGS = (FILE, BOARD)
"""What a checkpoint keeps from the scratch folder of its training."""


class TrainingLog:
    """Writes to ``folder``; when training resumes from ``step``, later entries are dropped."""

    def __init__(self, folder: Path | None, step: int) -> None:
        self.path = folder / FILE if folder is not None else None
        self.board: Any = None
        if folder is None or self.path is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
            files.write_text(self.path, "".join(f"{line}\n" for line in kept))
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.board = SummaryWriter(str(folder / BOARD), purge_step=step)

    def steps(self, first: int, losses: list[float], lr: float, images_per_s: float, waited: float) -> None:
        """Log the losses of the steps after ``first``; ``waited`` is the share of the time spent waiting for batches.

        From pixels that is decoding; the rest is the network.
        """
        common = {"lr": lr, "images_per_s": round(images_per_s, 1), "waited": round(waited, 3)}
        self._write([{"step": s, "loss": loss} | common for s, loss in enumerate(losses, first + 1)])

    def held_out(self, step: int, loss: float) -> None:
        """Log the held-out loss after an epoch."""
        self._write([{"step": step, "held_out_loss": loss}])

    def _write(self, records: list[dict[str, Any]]) -> None:
        if self.path is None:
            return
        with disk.writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
        if self.board is not None:
            for record in records:
                for name in record.keys() - (ONCE_PER_REPORT if record is not records[-1] else set()) - {"step"}:
                    self.board.add_scalar(name, record[name], record["step"])
