"""The papers' rows: one CSV per source, percentages, read by ``geobench report``."""

from pathlib import Path

FOLDER = Path(__file__).parent
