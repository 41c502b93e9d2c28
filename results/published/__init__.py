"""Published figures, read by ``geobench.peers.published``; the head of each CSV file explains its columns."""

from pathlib import Path

FOLDER = Path(__file__).parent
