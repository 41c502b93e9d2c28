"""Geo-localization as classification of cells: one linear head per partition, probabilities multiplied up the tree."""

from __future__ import annotations

import numpy as np

from geobench import hookimpl
from geobench.classification import NETWORK, CellClassifier


class Classifier(CellClassifier):
    """Places a photo at the mean position of the training images of its most probable fine cell."""

    name = "classifier"
    summary = "adaptive S2 cells, a linear head per partition, hierarchical product (as ISNs, PlaNet)"

    def build(self, width, arrays):
        """Return a linear head per partition."""
        from geobench.training.heads import LinearHeads

        return LinearHeads(width, arrays["sizes"])

    def restore(self, state):
        """Rebuild the heads, those of earlier versions too: they state neither width nor sizes, and name heads so."""
        if "width" not in state:
            heads = {f"{NETWORK}{n.removeprefix('heads.')}": a for n, a in state.items() if n.startswith("heads.")}
            sizes = [len(heads[f"{NETWORK}heads.{i}.bias"]) for i in range(len(state["ancestors"]))]
            width = [heads[f"{NETWORK}heads.0.weight"].shape[1]]
            state = {n: a for n, a in state.items() if not n.startswith("heads.")} | heads
            state |= {"sizes": np.array(sizes), "width": np.array(width)}
        super().restore(state)


@hookimpl
def register_models(register):
    """Register the classifier."""
    register(Classifier)
