"""Experiments of GeoCLIP's paper, read by ``geobench.experiments.definitions``: adding one is adding a TOML."""

from pathlib import Path

FOLDER = Path(__file__).parent
