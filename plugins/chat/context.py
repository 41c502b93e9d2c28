"""What a question brings along: photos with known positions, and the positions of training photos that look alike."""

from __future__ import annotations

import threading
from functools import cached_property

import numpy as np

from geobench import get_dataset, get_encoder
from geobench.errors import ImageError, SettingError
from geobench.features.cache import extract
from geobench.features.encoders import encode
from geobench.images.digests import as_array, digest_of
from geobench.models import coordinates_of, hash_table


class Context:
    """The training photos that questions bring along.

    Retrieval as in Img2Loc (Zhou et al., SIGIR 2024): the positions of the photos whose features have the largest
    cosine with the photo's. A training photo with the content of the photo itself is left out: its position is the
    answer.
    """

    def __init__(self, data, encoder=""):
        self.dataset = get_dataset(data)
        self.encoder = get_encoder(encoder or self.dataset.default_encoder)
        self._lock = threading.Lock()

    @cached_property
    def table(self):
        """Return the training photos."""
        self.dataset.prepare("train")
        return self.dataset.table("train")

    def key(self, candidates, examples):
        """Return what the context depends on, for keys."""
        key = {"table": hash_table(self.table), "images": self.dataset.content_key(self.table, "train")}
        if candidates:
            key |= {"encoder": self.encoder.name, "weights": self.encoder.weights_key()}
        return key | {"candidates": candidates, "examples": examples}

    @cached_property
    def features(self):
        """Return the features of the training photos, of unit length, and which of them could be read."""
        found = extract(self.dataset, self.table, self.encoder, purpose="train")
        array = np.asarray(found.array[:, 0], dtype=np.float32)
        norms = np.linalg.norm(array, axis=1, keepdims=True)
        return array / np.maximum(norms, 1e-12), found.ok, found.digests

    def candidates(self, photo, k):
        """Return the positions (k, 2) of the k training photos most like ``photo``, the most similar first."""
        with self._lock:  # one after the other: the encoder uses all cores
            features, ok, digests = self.features
            self.encoder.load()
            query = encode(self.encoder, self.encoder.preprocess(photo.image)[None])[0].numpy()
        scores = features @ (query / np.linalg.norm(query))
        scores[~ok | self._same(photo, digests)] = -np.inf
        order = np.argsort(-scores, kind="stable")[:k]
        return coordinates_of(self.table)[order[np.isfinite(scores[order])]]

    def examples(self, photo, n):
        """Return ``n`` example photos with their positions, the same for every question but for the photo itself."""
        found = []
        for _, row in self.dataset.table("train", min(n + 1, len(self.table))).iterrows():
            try:
                content = self.dataset.image_bytes(row["image"], "train")
                if digest_of(content).hex() == photo.digest:
                    continue
                found.append((self.dataset.decode_image(content, row["image"]), (row["latitude"], row["longitude"])))
            except ImageError:
                continue
        return found[:n]

    def _same(self, photo, digests):
        if digests is None:
            return np.zeros(len(self.table), dtype=bool)
        return (digests == as_array([bytes.fromhex(photo.digest)])[0]).all(axis=1)


def lines(positions):
    """Return positions as a prompt has them: a line each, with the five digits of a metre."""
    return "\n".join(f"{latitude:.5f}, {longitude:.5f}" for latitude, longitude in positions)


def check(prompt, candidates, examples, data):
    """Raise ``SettingError`` unless the ``prompt`` has a place for what is brought along, and its source is known."""
    for name, number in (("candidates", candidates), ("examples", examples)):
        if number and not data:
            raise SettingError(f"{name}={number} are photos of a training set; name it: --set context=DATASET")
        if number and name not in prompt.placeholders:
            raise SettingError(
                f"the prompt {prompt.name} has no place for {name}; write {{{name}}} into one of your own."
            )
        if not number and name in prompt.placeholders:
            raise SettingError(
                f"the prompt {prompt.name} has a place for {name}: --set {name}=16 --set context=DATASET"
            )
