"""The rows of GeoCLIP's table 3, which the table of the probe stands beside."""

from __future__ import annotations

PUBLISHED = {
    "Visual (V)": 0.234, "OneHot": 0.066, "HashTag": 0.163, "TagFeature": 0.161, "GPS2Vec onehot": 0.130,
    "GPS2Vec": 0.182, "GPS2Vec+": 0.210, "GeoCLIP": 0.249, "OneHot + V": 0.238, "HashTag + V": 0.261,
    "TagFeature + V": 0.260, "GPS2Vec onehot + V": 0.277, "GPS2Vec + V": 0.300, "Liao et al.": 0.347,
    "GPS2Vec+ + V": 0.348, "GeoCLIP + V": 0.362,
}  # fmt: skip
"""Mean average precision on geotagged NUS-WIDE (GeoCLIP, NeurIPS 2023, table 3)."""
SAME = {"visual": "Visual (V)", "onehot": "OneHot", "geoclip@official": "GeoCLIP"}
"""Rows of the probe that the paper has too; the visual features are others where the task is not NUS-WIDE."""


def published(features: str) -> float | None:
    """Return the paper's figure for a row of the probe, such as ``onehot + visual``, None if it has no such row."""
    name, plus, _ = features.partition(" + ")
    same = SAME.get(name, "")
    return PUBLISHED.get(f"{same} + V" if plus else same)
