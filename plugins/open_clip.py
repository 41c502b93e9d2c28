"""Every open_clip model as an encoder, by architecture and tag (``ViT-L-14/openai``) or a local weights file."""

from __future__ import annotations

import json
import logging
from importlib.util import find_spec
from pathlib import Path

from geobench import Encoder, EncoderError, file_key, hookimpl, unknown_name

DEFAULT = "ViT-L-14/openai"


class OpenClip(Encoder):
    """A CLIP model of the package ``open_clip``, its image features projected into the space shared with text.

    The name is ``ARCHITECTURE/TAG``, or ``ARCHITECTURE/PATH`` of a weights file (``.safetensors``, ``.pt``, ``.bin``;
    never unpickled beyond tensors). A file of OpenAI's weights goes with an architecture such as
    ``ViT-L-14-quickgelu``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.architecture, _, self.tag = name.partition("/")
        self.weights = Path(self.tag).expanduser() if Path(self.tag).suffix else None

    @property
    def side(self) -> int | None:
        """Return the side of the model's input, read from open_clip's list without the seconds of importing it."""
        package = find_spec("open_clip")
        folders = package.submodule_search_locations if package is not None else None
        try:
            config = json.loads((Path((folders or [""])[0]) / f"model_configs/{self.architecture}.json").read_text())
            return int(config["vision_cfg"]["image_size"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def load(self, device: str = "cpu") -> None:
        """Build the model and read its weights: from the file, else as open_clip finds them (it may download)."""
        import open_clip
        import torch

        self._check_name(open_clip)
        released = {} if self.weights else open_clip.get_pretrained_cfg(self.architecture, self.tag)
        # Its libraries log every retry of a download; what the user needs is the one line below.
        logging.disable(logging.ERROR)
        try:
            model, _, preprocess = open_clip.create_model_and_transforms(
                self.architecture,
                pretrained=str(self.weights or self.tag),
                device=device,
                weights_only=True,
                # OpenAI's weights need QuickGELU; open_clip only warns when the architecture's name does not say so.
                force_quick_gelu=bool(released.get("quick_gelu")),
            )
        except Exception as error:  # hub, network and file errors of several libraries end here
            reason = str(error).splitlines()[0][:300]
            raise EncoderError(
                f"the weights of {self.name} cannot be had ({type(error).__name__}: {reason}); give a local file as "
                f"--encoder {self.architecture}/PATH, or use the embedded encoder efficientnet_lite0."
            ) from error
        finally:
            logging.disable(logging.NOTSET)
        self.model, self._preprocess, self.device = model.eval().to(torch.float32), preprocess, device
        size = open_clip.get_model_config(self.architecture)["embed_dim"]
        self.dim = int(size)

    def _check_name(self, open_clip) -> None:
        if open_clip.get_model_config(self.architecture) is None:
            raise unknown_name("open_clip architecture", self.architecture, open_clip.list_models())
        tags = open_clip.list_pretrained_tags_by_model(self.architecture)
        if self.weights is None and self.tag not in tags:
            raise unknown_name(f"tag of {self.architecture}", self.tag, tags, "A weights file works as well.")
        if self.weights is not None and not self.weights.is_file():
            raise EncoderError(f"the weights file {self.weights} is not there; it was looked for as {self.name}.")

    def describe(self) -> str:
        """Return where the preprocessing comes from."""
        return f"open_clip's own for {self.name}: bicubic to the model's input size, centre cut, CLIP mean and std"

    def weights_key(self) -> str:
        """Return digits for the weights file, or the tag, which names released weights."""
        if self.weights is None:
            return self.tag
        if not self.weights.is_file():
            raise EncoderError(f"the weights file {self.weights} is not there; it was looked for as {self.name}.")
        return file_key(self.weights)

    def preprocess(self, image):
        """Return the model's input."""
        return self._preprocess(image)

    def encode_images(self, batch):
        """Return (n, d), not normalised, as the projection gives it."""
        return self.model.encode_image(batch).float()

    def encode_texts(self, texts):
        """Return (n, d) for ``texts``."""
        import open_clip
        import torch

        tokens = open_clip.get_tokenizer(self.architecture)(list(texts)).to(self.device)
        with torch.inference_mode():
            return self.model.encode_text(tokens).float()


@hookimpl
def register_encoders(register):
    """Register the default for photos by name, and every other open_clip model by pattern."""
    register(DEFAULT, OpenClip)
    register("*/*", OpenClip)
