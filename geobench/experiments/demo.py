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


def next_steps(folder: Path) -> str:
    """Return what a reader of the demo's tables may want to do next, with the commands."""
    results = "" if folder == FOLDER else f" --results {folder}"
    steps = {
        f"geobench report --format html --output report.html{results}": "the same as a page with a map",
        f"geobench breakdown knn --dataset bluemarble{results}": "where a model fails",
        "geobench predict PHOTO": "places for a photo; these models know satellite imagery alone",
        "geobench datasets add mine --images DIR --exif": "your own photos",
        "geobench --help": "all commands",
    }
    width = max(map(len, steps))
    return "Next:\n" + "\n".join(f"  {command:{width}}  {what}" for command, what in steps.items())


def demo(folder: Path = FOLDER, device: str = "auto", progress: Progress = SILENT) -> RunSummary:
    """Train the models on ``bluemarble``, run them on both embedded test sets, and save the results in ``folder``.

    Whatever else is on this machine, it runs the checkpoints that it has made.
    """
    made = [train(model, purpose=PURPOSE, device=device, progress=progress).spec for model in MODELS]
    return run(made, DATASETS, galleries=GALLERIES, device=device, folder=folder, progress=progress)
