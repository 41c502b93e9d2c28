"""Published figures, read by ``geobench.published.rows``; the head of each CSV file explains its columns."""

from pathlib import Path

FOLDER = Path(__file__).parent
