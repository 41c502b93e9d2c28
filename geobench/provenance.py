"""Provenance: what the answers of a result depend on, and what else is recorded to trust or repeat it.

The key of a result is made of the fields of :class:`Identity` and of nothing else, and its record holds these same
fields: nothing can be in one and not in the other.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from geobench import files
from geobench.plugins import get_encoder, registry
from geobench.settings import as_dict

if TYPE_CHECKING:
    from geobench.gallery import Gallery
    from geobench.models import Model, TestSet

DISTRIBUTION = "geobench-geolocalization"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Everything that the answers of a result depend on.

    Attributes:
        dataset: name of the test set; ``subset`` is the part of it that is scored, such as ``clean``, or empty.
        images_key: digest of the images: names, and what changes when a file does.
        table_hash: digest of names and true positions.
        n: images in the test set, the denominator of every score.
        model: name of the model.
        code: versions of the distributions whose code answers, of a model that is not trained; otherwise its weights
            stand for it.
        checkpoint, weights: of a trained model: the id of its checkpoint, and the digest of everything learnt.
        config: hyper-parameters and settings.
        encoder, encoder_weights, preprocessing, precision: what its features come from; empty for a model that uses
            none.
        crops: views of each image; 0 for a model that uses no features.
        gallery, gallery_size, gallery_hash: spec, number of points and digest of the gallery; empty for a model that
            uses none.
        seed: of the gallery's draw.
        top_k: predictions kept for each image.
    """

    dataset: str
    subset: str = ""
    images_key: str = ""
    table_hash: str = ""
    n: int
    model: str
    code: dict[str, str]
    checkpoint: str = ""
    weights: str = ""
    config: dict[str, Any]
    encoder: str = ""
    encoder_weights: str = ""
    preprocessing: str = ""
    precision: str = ""
    crops: int = 0
    gallery: str = ""
    gallery_size: int = 0
    gallery_hash: str = ""
    seed: int = 0
    top_k: int = 1

    def identity(self) -> dict[str, Any]:
        """Return the fields that the key is made of."""
        return {f.name: getattr(self, f.name) for f in fields(Identity)}

    @property
    def key(self) -> str:
        """Return 16 digits that stand for everything the answers depend on."""
        return files.digest(self.identity())


def identify(model: Model, test_set: TestSet, gallery: Gallery | None, crops: int, top_k: int) -> Identity:
    """Return what the answers of ``model`` to ``test_set`` depend on."""
    checkpoint = model.checkpoint
    encoder = get_encoder(encoder_name) if (encoder_name := encoder_of(model, test_set)) else None
    return Identity(
        dataset=test_set.name,
        images_key=test_set.images_key,
        table_hash=test_set.table_hash,
        n=len(test_set),
        model=model.name,
        code={} if checkpoint is not None else versions_of(type(model)),
        checkpoint=checkpoint.id if checkpoint is not None else "",
        weights=checkpoint.weights if checkpoint is not None else "",
        config=checkpoint.config if checkpoint is not None else as_dict(model.config),
        encoder=encoder.name if encoder is not None else "",
        encoder_weights=encoder.weights_key() if encoder is not None else "",
        preprocessing=encoder.describe() if encoder is not None else "",
        precision=encoder.precision(model.device) if encoder is not None else "",
        crops=crops if encoder is not None else 0,
        gallery=gallery.spec if gallery is not None else "",
        gallery_size=len(gallery) if gallery is not None else 0,
        gallery_hash=gallery.hash if gallery is not None else "",
        seed=gallery.seed if gallery is not None else 0,
        top_k=top_k,
    )


def encoder_of(model: Model, test_set: TestSet) -> str:
    """Return the name of the encoder that ``model`` was trained with, the test set's default for one that was not."""
    if model.input != "features":
        return ""
    return model.checkpoint.encoder if model.checkpoint is not None else test_set.dataset.default_encoder


def versions_of(model: type[Model]) -> dict[str, str]:
    """Return the versions of geobench, torch and the distribution that brings ``model``: the code that answers."""
    owner = registry().owners.get(("model", model.name))
    brought = {owner.distribution: owner.version} if owner is not None and owner.distribution != DISTRIBUTION else {}
    return {"geobench": version(DISTRIBUTION), "torch": version("torch")} | brought


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that decode images and encode them."""
    found = {}
    for name in ("pillow", "open_clip_torch", "timm"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """Return the time, UTC, to the microsecond: of two results or checkpoints the newer has the larger."""
    return datetime.now(UTC).isoformat()
