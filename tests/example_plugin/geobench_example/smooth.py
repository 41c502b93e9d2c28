"""A classifier of cells whose targets are smoothed by distance, in the manner of PIGEON: a near miss costs less."""

from geobench import hookimpl
from geobench.classification import CellClassifier, CellConfig
from geobench.settings import setting, settings


@settings
class SmoothConfig(CellConfig):
    """Hyper-parameters: those of cells and training, and the width of the smoothing."""

    tau_km: float = setting(75.0, "distance at which the weight of a cell beside the true one falls to 1/e", gt=0)


class Smooth(CellClassifier):
    """One partition, a linear layer, and cross entropy against weights that fall with the distance of cells."""

    name = "smooth"
    summary = "adaptive cells with targets smoothed by distance"
    Config = SmoothConfig

    def build(self, width, arrays):
        """Return the layer, with the distances between cells."""
        import torch

        from geobench.geo import EARTH_RADIUS_KM, unit_vectors
        from geobench.training.heads import LinearHeads

        centres = torch.from_numpy(unit_vectors(arrays["centres"]))
        apart = EARTH_RADIUS_KM * (centres @ centres.T).clamp(-1, 1).arccos().float()  # (cells, cells)
        tau = self.config.tau_km

        class SmoothHeads(LinearHeads):
            def loss(self, features, labels, generator):
                """Return the cross entropy against exp(−d/τ), normalised; an image without a cell adds nothing."""
                fine = labels[:, -1]
                target = (-apart[fine.clamp(min=0)].to(features.device) / tau).softmax(dim=1)  # (b, cells)
                entropy = -(target[:, None] * self(features)[-1].log_softmax(dim=-1)).sum(dim=-1).mean(dim=1)
                return (entropy * (fine >= 0)).mean()

        return SmoothHeads(width, arrays["sizes"], combine="fine")


@hookimpl
def register_models(register):
    """Tell geobench about the model."""
    register(Smooth)
