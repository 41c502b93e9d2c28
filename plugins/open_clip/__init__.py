"""Every open_clip model as an encoder, by architecture and tag (``ViT-L-14/openai``) or a local weights file."""

from __future__ import annotations

import logging
import pickle
import warnings
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from textwrap import shorten

from geobench import Encoder, EncoderError, file_key, hookimpl, unknown_name

from . import finding, preprocessing, weights_file
from .weights_file import OPENAI

DEFAULT = "ViT-L-14/openai"
LARGE_WIDTH = 1024
"""Of an image tower such as that of ViT-L/14, to whose 257 tokens more images add no speed: measured, 3.0 s of one core
for each image in groups of two and of four."""


class OpenClip(Encoder):
    """A CLIP model of the package ``open_clip``: its image features, projected into the space shared with text.

    The name is ``ARCHITECTURE/TAG``, or ``ARCHITECTURE/PATH`` of a weights file (``.safetensors``, ``.pt``, ``.bin``)
    or of the folder with it, as open_clip or transformers save it. What a tag's weights need is known; for a file,
    ``preprocessing.py`` says where it is stated. OpenAI's own files are recognised by their digest.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.architecture, _, self.tag = name.partition("/")
        path = Path(self.tag)
        self.weights = path.expanduser() if path.suffix or len(path.parts) > 1 or self.tag.startswith(".") else None

    @property
    def file(self) -> Path | None:
        """Return the local file of the weights: the one named, or one that is here for the tag; else None."""
        if self.weights is None:
            return finding.of_tag(self.architecture, self.tag)
        try:
            return finding.named(self.weights)
        except EncoderError as error:
            raise EncoderError(f"{self.name}: {error}") from None

    @cached_property
    def preprocessing(self):
        """Return how images are prepared and which activation the model has; known without the weights.

        Raises:
            EncoderError: it cannot be known for this file.
        """
        self._check_name()
        file = self.file
        openais = file is not None and weights_file.is_openais(self.architecture, file)
        if self.weights is None and openais and self.tag != OPENAI:
            right = f"{OPENAI}{file.suffix}"
            raise EncoderError(f"{file} holds OpenAI's weights, not those of {self.name}; rename it to {right}.")
        if self.weights is None or openais:
            return preprocessing.of_tag(self.architecture, OPENAI if openais else self.tag)
        return preprocessing.of_file(self.architecture, file)

    @property
    def normalisation(self):
        """Return mean and standard deviation of each channel."""
        return self.preprocessing.mean, self.preprocessing.std

    @property
    def tile(self):
        """Return 2 for a large image tower, so that one photo is quick; else what is fastest for many."""
        import open_clip

        vision = (open_clip.get_model_config(self.architecture) or {}).get("vision_cfg", {})
        width = vision.get("width")
        return 2 if isinstance(width, int) and width >= LARGE_WIDTH else super().tile

    def load(self, device: str = "cpu") -> None:
        """Build the model and read its weights: from a local file, else as open_clip finds them (it may download)."""
        import open_clip
        import torch

        wanted, file = self.preprocessing, self.file
        with self._explained(file):
            model, preprocess = self._create(self.tag if file is None else None, wanted)
            if file is not None:
                weights_file.fill(model, self.architecture, file)
        self.model, self._preprocess, self.device = model.eval().to(device, torch.float32), preprocess, device
        self.dim = int(open_clip.get_model_config(self.architecture)["embed_dim"])

    def downloads(self) -> bool:
        """Return whether neither a local file nor the hub's cache has the weights of a tag."""
        return self.file is None and not finding.has_own_copy(self.architecture, self.tag)

    def check(self) -> None:
        """Raise if the weights are not available, or their preprocessing not known; those of a tag are downloaded."""
        file = self.file
        if file is not None:
            with self._explained(file):
                weights_file.check(file)
        self.describe()
        if file is None:
            import open_clip

            with self._explained(None):
                open_clip.download_pretrained(open_clip.get_pretrained_cfg(self.architecture, self.tag))

    @contextmanager
    def _explained(self, file):
        """Turn whatever open_clip and its libraries raise into an ``EncoderError`` of one line."""
        # They log every retry of a download; what the user needs is the one line below.
        logging.disable(logging.ERROR)
        try:
            with warnings.catch_warnings(action="ignore"):  # torch warns of other libraries' pickles in its own words
                yield
        except EncoderError:
            raise
        except pickle.UnpicklingError:
            raise EncoderError(f"{file} holds more than tensors and is refused; nothing in it was executed.") from None
        except Exception as error:  # errors of hub, network and files of several libraries
            reason = shorten(str(error), 300, placeholder=" …")
            raise EncoderError(
                f"the weights of {self.name} are not available ({type(error).__name__}: {reason}); "
                f"{self._remedy(file)}."
            ) from error
        finally:
            logging.disable(logging.NOTSET)

    def _remedy(self, file) -> str:
        if file is not None:
            return f"{file} is damaged, or of another architecture than {self.architecture}"
        openais = " or OpenAI's own file as .pt" if self.tag == OPENAI else " or .pt, .bin"
        right = finding.place(self.architecture, self.tag, ".safetensors")
        copy = finding.copy_of_transformers(self.architecture) if self.tag == OPENAI else None
        folder = f", or name the folder of transformers' copy: {self.architecture}/{copy.parent}" if copy else ""
        there = finding.near(self.architecture)
        near = f"; {there[0]} is there: rename it if these are the weights" if there else ""
        return (
            f"without a network, put a file with them at {right}{openais}{folder}{near}; "
            f"the encoder efficientnet_lite0 needs no download"
        )

    def _create(self, tag, wanted):
        """Return open_clip's model and its preprocessing, with the weights of ``tag``, or without any."""
        import open_clip

        model, _, preprocess = open_clip.create_model_and_transforms(
            self.architecture,
            pretrained=tag,
            pretrained_hf=False,  # no other weights for a text tower that is about to be filled
            weights_only=True,
            # Tags of plain names need it too, and open_clip only warns.
            force_quick_gelu=wanted.quick_gelu,
            image_mean=wanted.mean,
            image_std=wanted.std,
            image_interpolation=wanted.interpolation,
            image_resize_mode=wanted.resize_mode,
        )
        return model, preprocess

    def _check_name(self) -> None:
        import open_clip

        if open_clip.get_model_config(self.architecture) is None:
            raise unknown_name("open_clip architecture", self.architecture, open_clip.list_models())
        tags = open_clip.list_pretrained_tags_by_model(self.architecture)
        if self.weights is None and self.tag not in tags:
            here = f" The folder here is ./{self.tag}." if Path(self.tag).is_dir() else ""
            raise unknown_name(f"tag of {self.architecture}", self.tag, tags, f"A weights file works as well.{here}")

    def describe(self) -> str:
        """Return preprocessing, activation, and where they are stated."""
        import open_clip

        wanted = self.preprocessing
        size = open_clip.get_model_config(self.architecture)["vision_cfg"].get("image_size", 224)
        return f"{wanted.describe(size)}; float16 on a GPU"

    def precision(self, device):
        """Return half precision on a GPU, as the weights were released and several times as fast."""
        return "float16" if device.startswith("cuda") else "float32"

    def weights_key(self) -> str:
        """Return the tag, which names released weights, or digits for a local file that is not known to hold them."""
        file = self.file
        return self.tag if file is None or self._is_published(file) else file_key(file)

    def caveat(self) -> str:
        """Return that the weights are a local file's, if it is not known to hold those that the name stands for."""
        file = self.file
        if file is None or self.weights is not None or self._is_published(file):
            return ""
        claimed = preprocessing.stated(self.architecture, file).get("tag") == self.tag
        known = "stated, but not known," if claimed else "not known"
        local = f"{self.architecture}/{file.name}"
        return f"the weights of {self.name} were read from the local file {local}, which is {known} to hold them."

    def check_weights(self, key, user) -> None:
        """Accept a local file in place of a tag's weights only if it holds them, or is stated to."""
        file = self.file
        if file is None or self.weights is not None or key != self.tag or self._is_published(file):
            return super().check_weights(key, user)
        if preprocessing.stated(self.architecture, file).get("tag") == key:
            return None
        archive = f"OpenAI's own {self.architecture.removesuffix(preprocessing.QUICK)}.pt" if key == OPENAI else ""
        raise EncoderError(
            f"{user} was trained with the weights released as {self.name}, and {file} is not known to hold them. "
            f"{f'Put {archive} there; ' if archive else ''}or remove the file, and they are downloaded; or, if it "
            f'holds them all the same, write tag = "{key}" into {preprocessing.beside(file)}: results will say so.'
        )

    def _is_published(self, file) -> bool:
        """Return whether ``file`` is OpenAI's own file, in the place of its weights."""
        return self.tag == OPENAI and weights_file.is_openais(self.architecture, file)

    def preprocess(self, image):
        """Return the model's input."""
        return self._preprocess(image)

    def encode_images(self, batch):
        """Return (n, d), not normalised, as the projection gives it."""
        return self.model.encode_image(batch).float()

    def encode_tokens(self, batch):
        """Return (n, t, d) for a vision transformer: its patch tokens after the last block, not projected."""
        visual = self.model.visual
        trunk = getattr(visual, "trunk", None)
        if trunk is not None and hasattr(trunk, "forward_features"):
            tokens = trunk.forward_features(batch)
            return tokens[:, getattr(trunk, "num_prefix_tokens", 0) :].float() if tokens.ndim == 3 else _of_map(tokens)
        if not hasattr(visual, "forward_intermediates"):
            return super().encode_tokens(batch)
        found = visual.forward_intermediates(
            batch, indices=1, intermediates_only=True, output_fmt="NLC", normalize_intermediates=True
        )
        return found["image_intermediates"][-1].float()

    def trainable_network(self):
        """Return the image tower."""
        return self.model.visual

    def encode_texts(self, texts):
        """Return (n, d) for ``texts``."""
        import open_clip
        import torch

        tokens = open_clip.get_tokenizer(self.architecture)(list(texts)).to(self.device)
        with torch.inference_mode():
            return self.model.encode_text(tokens).float()


def _of_map(features):
    """Return the tokens (n, h·w, d) of a feature map (n, d, h, w)."""
    return features.flatten(2).transpose(1, 2).float()


@hookimpl
def register_encoders(register):
    """Register the default for photos by name, and every other open_clip model by pattern."""
    register(DEFAULT, OpenClip)
    register("*/*", OpenClip)
