"""Every open_clip model as an encoder, by architecture and tag (``ViT-L-14/openai``) or a local weights file."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import warnings
import zipfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten

from geobench import Encoder, EncoderError, file_key, files, hookimpl, unknown_name

DEFAULT = "ViT-L-14/openai"
SUFFIXES = (".safetensors", ".pt", ".bin")
FOLDER = "weights"
"""In ``GEOBENCH_HOME``: ``weights/ViT-L-14/openai.pt`` is read in place of a download of ``ViT-L-14/openai``."""
NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")  # numbers among the tensors of OpenAI's archives


class OpenClip(Encoder):
    """A CLIP model of the package ``open_clip``, its image features projected into the space shared with text.

    The name is ``ARCHITECTURE/TAG``, or ``ARCHITECTURE/PATH`` of a weights file (``.safetensors``, ``.pt``, ``.bin``;
    never unpickled beyond tensors). A state dict of OpenAI's weights goes with an architecture such as
    ``ViT-L-14-quickgelu``; OpenAI's own file says itself what it needs.
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

    @property
    def file(self) -> Path | None:
        """Return the local file of the weights: the one named, or that in ``FOLDER`` for the tag; else None."""
        if self.weights is not None:
            if not self.weights.is_file():
                raise EncoderError(f"{self.name}: there is no weights file {self.weights}.")
            return self.weights
        places = [self._place(suffix) for suffix in SUFFIXES]
        return next((place for place in places if place.is_file()), None)

    def _place(self, suffix: str) -> Path:
        return files.home() / FOLDER / self.architecture / f"{self.tag}{suffix}"

    def load(self, device: str = "cpu") -> None:
        """Build the model and read its weights: from a local file, else as open_clip finds them (it may download)."""
        import open_clip
        import torch

        self._check_name(open_clip)
        file = self.file
        with self._explained(file):
            model, preprocess = self._openais(file) if _is_torchscript(file) else self._create(str(file or self.tag))
        self.model, self._preprocess, self.device = model.eval().to(device, torch.float32), preprocess, device
        size = open_clip.get_model_config(self.architecture)["embed_dim"]
        self.dim = int(size)
        self.normalisation = next(
            ((tuple(step.mean), tuple(step.std)) for step in preprocess.transforms if hasattr(step, "std")), None
        )

    def check(self) -> None:
        """Raise if the weights are not available; those of a tag are downloaded, unless open_clip has them already."""
        file = self.file
        if file is None:
            import open_clip

            self._check_name(open_clip)
            with self._explained(file):
                open_clip.download_pretrained(open_clip.get_pretrained_cfg(self.architecture, self.tag))

    @contextmanager
    def _explained(self, file):
        """Turn whatever open_clip and its libraries raise into an ``EncoderError`` of one line."""
        # They log every retry of a download; what the user needs is the one line below.
        logging.disable(logging.ERROR)
        try:
            with warnings.catch_warnings(action="ignore"):  # torch warns of foreign pickles in lines of its own
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
        openais = " or OpenAI's own file as .pt" if self.tag == "openai" else " or .pt, .bin"
        return (
            f"without a network, put a file with them at {self._place('.safetensors')}{openais}; "
            f"the encoder efficientnet_lite0 needs no download"
        )

    def _create(self, pretrained, quick_gelu=False):
        """Return open_clip's model and its preprocessing, with the weights of a tag or a file, or without any."""
        import open_clip

        released = {} if self.weights else open_clip.get_pretrained_cfg(self.architecture, self.tag)
        own = {f"image_{name}": released.get(name) for name in ("mean", "std", "interpolation", "resize_mode")}
        model, _, preprocess = open_clip.create_model_and_transforms(
            self.architecture,
            pretrained=pretrained,
            weights_only=True,
            # OpenAI's weights need QuickGELU; open_clip only warns when the architecture's name does not say so.
            force_quick_gelu=quick_gelu or bool(released.get("quick_gelu")),
            **own,
        )
        return model, preprocess

    def _openais(self, file):
        """Return model and preprocessing with the weights in OpenAI's TorchScript archive, known by its digest."""
        import torch

        if _digest(file) not in _published(self.architecture):
            raise EncoderError(
                f"{file} is a TorchScript archive, which holds code, and not the one that OpenAI published for "
                f"{self.architecture}, so it is not opened; save its tensors as .safetensors and give that file."
            )
        tensors = torch.jit.load(file, map_location="cpu").state_dict()
        model, preprocess = self._create(None, quick_gelu=True)
        model.load_state_dict({name: tensor for name, tensor in tensors.items() if name not in NO_WEIGHTS})
        return model, preprocess

    def _check_name(self, open_clip) -> None:
        if open_clip.get_model_config(self.architecture) is None:
            raise unknown_name("open_clip architecture", self.architecture, open_clip.list_models())
        tags = open_clip.list_pretrained_tags_by_model(self.architecture)
        if self.weights is None and self.tag not in tags:
            raise unknown_name(f"tag of {self.architecture}", self.tag, tags, "A weights file works as well.")

    def describe(self) -> str:
        """Return where the preprocessing comes from."""
        own = f"open_clip's own for {self.name}: bicubic to the model's input size, centre cut, CLIP mean and std"
        return f"{own}; float16 on a GPU"

    def precision(self, device):
        """Return half precision on a GPU, as the weights were released and several times as fast."""
        return "float16" if device.startswith("cuda") else "float32"

    def weights_key(self) -> str:
        """Return the tag, which names released weights, or digits for a local file that is not known to hold them."""
        file = self.file
        if file is None or (self.weights is None and _digest(file) in _published(self.architecture)):
            return self.tag
        return file_key(file)

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


def _is_torchscript(file):
    """Return whether ``file`` is an archive of ``torch.jit.save``: one with code in it."""
    if file is None or not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _digest(file):
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _published(architecture):
    """Return the SHA-256 of the archives that OpenAI published for ``architecture``: its addresses state them."""
    import open_clip

    url = open_clip.get_pretrained_cfg(architecture.removesuffix("-quickgelu"), "openai").get("url", "")
    return set(url.split("/"))


@hookimpl
def register_encoders(register):
    """Register the default for photos by name, and every other open_clip model by pattern."""
    register(DEFAULT, OpenClip)
    register("*/*", OpenClip)
