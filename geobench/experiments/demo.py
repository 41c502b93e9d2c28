"""The harness in three minutes: three models and two baselines, real imagery, several gallery sizes."""

from __future__ import annotations

from pathlib import Path

from geobench.progress import SILENT, Progress
from geobench.results import FOLDER
from geobench.run import RunSummary, run
from geobench.train import train

PURPOSE = "the demo"
MODELS = ("geoclip", "classifier", "knn", "most-frequent", "random")
DATASETS = ("bluemarble", "shadedrelief")
GALLERIES = ("training:1k", "training:5k", "training:21k", "land:100k")

COMMANDS = (
    *(f"geobench train {model}" for model in MODELS),
    f"geobench run --models {','.join(MODELS)} --datasets {','.join(DATASETS)} --galleries {','.join(GALLERIES)}",
    "geobench report",
)
"""The equivalent commands."""


def demo(folder: Path = FOLDER, device: str = "auto", progress: Progress = SILENT) -> RunSummary:
    """Train the models on ``bluemarble``, run them on both embedded test sets, and save the results in ``folder``.

    Whatever else is on this machine, it runs the checkpoints that it has made.
    """
    made = [train(model, purpose=PURPOSE, device=device, progress=progress).spec for model in MODELS]
    return run(made, DATASETS, galleries=GALLERIES, device=device, folder=folder, progress=progress)
