"""GeoCLIP (Vivanco Cepeda, Nayak, Shah; NeurIPS 2023): retrieval of GPS coordinates by contrastive embeddings."""

from __future__ import annotations

from geobench import Model, Predictions, hookimpl, search
from geobench.geo import as_coordinates
from geobench.training.engine import Training

from . import official
from .config import FRACTIONS, VARIANTS, GeoClipConfig


class GeoClipModel(Model):
    """Places a photo at the gallery coordinate whose embedding is most similar to the photo's."""

    name = "geoclip"
    summary = "retrieval over GPS embeddings, contrastive (Vivanco Cepeda et al., NeurIPS 2023)"
    Config = GeoClipConfig
    variants = VARIANTS
    probabilities = True
    fraction_settings = FRACTIONS

    def fit(self, training_set, *, seed=0, scratch=None, progress=None):
        """Train as in the paper: queue, noise, learnable temperature, Adam, step decay."""
        import torch

        from .contrast import Contrast
        from .network import GeoClip

        config, rows, loader = self.config, training_set.readable, training_set.loader(self.device)
        torch.manual_seed(seed)
        contrast = Contrast(GeoClip(config, loader.width), config, seed).to(self.device)
        if config.compiles(self.device):
            contrast.compile_for_training()
            if progress is not None:
                progress.say(
                    f"train {self.name}: the first step is compiled, which takes a while (compiled=no skips it)."
                )
        coordinates = torch.tensor(training_set.coordinates, dtype=torch.float32, device=self.device)
        Training(
            what=f"train {self.name}",
            network=contrast,
            loss=contrast.loss,
            loader=loader,
            indices=rows,
            targets=coordinates,
            schedule=config,
            seed=seed,
            device=self.device,
            scratch=scratch,
            progress=progress,
        ).run()
        self.network = contrast.network.eval()

    def locate(self, features, gallery, top_k=1):
        """Return the most similar coordinates; views are averaged as logits; scores are softmax probabilities."""
        import torch

        with torch.inference_mode():
            given = torch.tensor(features).to(self.device)
            # The mean of the views' embeddings: its inner products are the means of the views' logits.
            queries = search.in_tiles(lambda tile: self.network.embed_images(tile).mean(dim=1), given)
            embeddings = search.gallery_embeddings(gallery, self.embed, self.config.dim, self._key)
            scale = float(self.network.logit_scale.exp())
            _, rows, probabilities = search.top_k(queries, embeddings, top_k, scale=scale)
        return Predictions.of(gallery.coordinates[rows], probabilities)

    @property
    def feature_width(self):
        """Return d of the image head's input."""
        return self.network.image_head[0].in_features

    def similarity(self, features, coordinates):
        """Return the cosine similarity (n, m) to each of ``coordinates``, the mean over views."""
        import torch

        with torch.inference_mode():
            given = torch.tensor(features).to(self.device)
            queries = search.in_tiles(lambda tile: self.network.embed_images(tile).mean(dim=1), given)
            return queries.cpu().numpy() @ self.embed(coordinates).T

    def embed(self, coordinates, *, normalise=True):
        """Return the location embeddings (n, dim) of ``coordinates`` (n, 2)."""
        import torch

        given = torch.tensor(as_coordinates(coordinates), dtype=torch.float32, device=self.device)
        encode = self.network.embed_locations if normalise else self.network.location_encoder
        with torch.inference_mode():
            return search.in_tiles(encode, given, EMBED_TILE).cpu().numpy()

    @classmethod
    def importable(cls):
        """Return ``official`` if the package ``geoclip`` is installed."""
        return [official.NAME] if official.package_folder() is not None else []

    @classmethod
    def imported_checkpoint(cls, identifier):
        """Return the weights that GeoCLIP's authors released: ``official``, or a folder of their files."""
        return official.find(identifier)

    def state(self):
        """Return the networks' parameters and the Fourier matrices."""
        return {name: tensor.cpu().numpy() for name, tensor in self.network.state_dict().items()}

    def restore(self, state):
        """Rebuild the networks."""
        import torch

        from .network import GeoClip

        network = GeoClip(self.config, state["image_head.0.weight"].shape[1])
        tensors = {name: torch.tensor(array) for name, array in state.items()}
        for tensor in tensors.values():
            tensor[tensor.abs() < SMALLEST] = 0
        network.load_state_dict(tensors)
        self.network = network.to(self.device).eval()

    @property
    def _key(self):
        """Return the key that gallery embeddings are cached under; None before the model has a checkpoint."""
        if self.checkpoint is None:
            return None
        return f"{self.checkpoint.spec} {self.checkpoint.weights} {self.device.partition(':')[0]}"


EMBED_TILE = 2048  # coordinates embedded together; fewer are padded to this number
SMALLEST = 2.0**-126
"""Weight decay drives unused weights below the smallest normal float32; the released weights hold 96,859 such numbers.
They change no embedding, and a CPU is up to 70 times slower on them than on zeros."""


@hookimpl
def register_models(register):
    """Register GeoCLIP."""
    register(GeoClipModel)


@hookimpl
def register_galleries(register):
    """Register the gallery that was released with the weights."""
    register(official.NAME, official.coordinates)
