"""How well a score ranks right answers above wrong ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from geobench.geo import FloatArray


def auroc(hits: npt.NDArray[np.bool_], confidence: FloatArray) -> float:
    """Return the probability that a right answer has a higher ``confidence`` (n,) than a wrong one; ties count half.

    >>> auroc(np.array([True, False, True]), np.array([0.9, 0.1, 0.8]))
    1.0
    """
    from scipy.stats import rankdata

    right, wrong = int(hits.sum()), int((~hits).sum())
    if not right or not wrong:
        return float("nan")
    above = rankdata(confidence)[hits].sum() - right * (right + 1) / 2
    return float(above / (right * wrong))
