"""The command line: parse, call one library function, echo. Everything here works from Python too."""

from geobench.cli import (  # they add their commands to main
    answers,
    breakdown,
    cache,
    check,
    compare,
    download,
    embed,
    experiment,
    features,
    frontier,
    lists,
    predict,
    probe,
    report,
    samples,
    score,
    work,
)
from geobench.cli.group import main

__all__ = [
    "answers",
    "breakdown",
    "cache",
    "check",
    "compare",
    "download",
    "embed",
    "experiment",
    "features",
    "frontier",
    "lists",
    "main",
    "predict",
    "probe",
    "report",
    "samples",
    "score",
    "work",
]
