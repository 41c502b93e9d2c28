"""Reading a local file of weights into a model of open_clip. Nothing but tensors is unpickled, and no code is run."""

from __future__ import annotations

import zipfile

from geobench import EncoderError
from geobench.features.encoders import file_digest

from .preprocessing import QUICK

OPENAI = "openai"
NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")  # numbers among the tensors of OpenAI's archives
POSITIONS = ("visual.positional_embedding", "positional_embedding", "text.positional_embedding")


def published(architecture):
    """Return the SHA-256 of the archive that OpenAI published for ``architecture``: its address states it."""
    import open_clip

    url = open_clip.get_pretrained_cfg(architecture.removesuffix(QUICK), OPENAI).get("url", "")
    return set(url.split("/"))


def is_openais(architecture, file):
    """Return whether ``file`` is the archive that OpenAI published for ``architecture``."""
    return file_digest(file) in published(architecture)


def fill(model, architecture, file):
    """Read the weights in ``file`` into ``model``.

    Raises:
        EncoderError: it is of a model for inputs of another size, or an archive with code that OpenAI did not publish.
    """
    import open_clip
    import torch

    if not _is_torchscript(file):
        _check_positions(model, architecture, file)
        open_clip.load_checkpoint(model, str(file), weights_only=True)
        return
    if not is_openais(architecture, file):
        raise EncoderError(
            f"{file} is a TorchScript archive, which holds code, and not the one that OpenAI published for "
            f"{architecture}, so it is not opened; save its tensors as .safetensors and give that file."
        )
    tensors = torch.jit.load(file, map_location="cpu").state_dict()
    model.load_state_dict({name: tensor for name, tensor in tensors.items() if name not in NO_WEIGHTS})


def _is_torchscript(file):
    """Return whether ``file`` is an archive of ``torch.jit.save``: one with code in it."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _check_positions(model, architecture, file):
    """Raise if ``file`` is of a model for inputs of another size: open_clip would stretch its embeddings to fit."""
    state, found = model.state_dict(), _positions(file)
    wrong = next((name for name in found if name in state and found[name] != tuple(state[name].shape)), None)
    if wrong is not None:
        raise EncoderError(
            f"{file} is not of the architecture {architecture}: its {wrong} is {found[wrong]}, not "
            f"{tuple(state[wrong].shape)}, so it was trained on inputs of another size."
        )


def _positions(file):
    """Return the shapes of the position embeddings in ``file``, without reading the rest of it."""
    import torch
    from safetensors import safe_open

    if file.suffix == ".safetensors":
        with safe_open(file, "pt") as tensors:
            there = set(tensors.keys())
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in POSITIONS if name in there}
    content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    content = content.get("state_dict", content)
    named = {name: content.get(name, content.get(f"module.{name}")) for name in POSITIONS}
    return {name: tuple(tensor.shape) for name, tensor in named.items() if tensor is not None}
