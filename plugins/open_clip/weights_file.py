"""Reading a local file of weights into a model of open_clip. Nothing but tensors is unpickled, and no code is run."""

from __future__ import annotations

import zipfile

from geobench import EncoderError
from geobench.features.encoders import file_digest

from . import from_transformers
from .preprocessing import QUICK

OPENAI = "openai"
COPIES = {
    "ViT-B-16": ("openai/clip-vit-base-patch16",),
    "ViT-B-32": (
        "openai/clip-vit-base-patch32",
        "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
    ),
    "ViT-L-14": (
        "openai/clip-vit-large-patch14",
        "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
        "f1a17cdbe0f36fec524f5cafb1c261ea3bbbc13e346e0f74fc9eb0460dedd0d3",
    ),
    "ViT-L-14-336": ("openai/clip-vit-large-patch14-336",),
}
"""OpenAI's own repositories on the hub with their weights for transformers, and the SHA-256 of those of their files
whose digests are known: ``model.safetensors`` and ``pytorch_model.bin`` of ViT-L-14 (revision 32bd642), and the latter
of ViT-B-32 (3d74acf)."""
NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")  # numbers among the tensors of OpenAI's archives
TEXT_TOWERS = ("text.", "transformer.", "token_embedding.", "text_projection")
IMAGE_ALONE = ("embeddings.patch_embedding.", "conv1.")  # of transformers, and of open_clip's ``visual``
TEXT_ALONE = ("embeddings.token_embedding.",)
POSITIONS = ("visual.positional_embedding", "positional_embedding", "text.positional_embedding")


def published(architecture):
    """Return the SHA-256 of what OpenAI published for ``architecture``: of the archive, it is in the address."""
    import open_clip

    plain = architecture.removesuffix(QUICK)
    url = open_clip.get_pretrained_cfg(plain, OPENAI).get("url", "")
    return {*url.split("/"), *COPIES.get(plain, ())[1:]} - {""}


def repository(architecture):
    """Return OpenAI's repository on the hub with these weights for transformers; empty if there is none."""
    return next(iter(COPIES.get(architecture.removesuffix(QUICK), ())), "")


def is_openais(architecture, file):
    """Return whether ``file`` is an archive, or a file for transformers, that OpenAI published for ``architecture``."""
    return file_digest(file) in published(architecture)


def check(file):
    """Raise ``EncoderError`` if ``file`` is no file of weights, or holds one tower alone; little of it is read."""
    with file.open("rb") as opened:
        start = opened.read(512).lstrip().lower()
    if not start:
        raise EncoderError(f"{file} is empty; the download was interrupted, or the file never written.")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise EncoderError(f"{file} is a web page, not weights: download the file itself, not the page about it.")
    if start.startswith(b"version https://git-lfs"):
        raise EncoderError(f"{file} is a pointer of Git LFS, not weights: fetch the file with git lfs pull.")
    if not _is_torchscript(file):
        _check_towers(file)


def fill(model, architecture, file):
    """Read the weights in ``file`` into ``model``.

    Raises:
        EncoderError: it is of another network, or an archive with code that OpenAI did not publish.
    """
    import open_clip
    import torch

    check(file)
    if not _is_torchscript(file):
        shapes = _shapes(file)
        if from_transformers.is_named_so(shapes):
            tensors = from_transformers.renamed(_tensors(file))
            _check_shapes(model, architecture, file, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
            model.load_state_dict(tensors)
            return
        _check_positions(model, architecture, file, shapes)
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


def _check_towers(file):
    """Raise if ``file`` holds an image or a text tower alone, whose features are in no space shared with the other."""
    shapes = _shapes(file)
    if any(name.startswith(IMAGE_ALONE) for name in shapes):
        lacking = "text"
    elif any(name.startswith(TEXT_ALONE) for name in shapes):
        lacking = "image"
    elif not from_transformers.is_named_so(shapes):
        image, text = (any(name.startswith(start) for name in shapes) for start in ("visual.", TEXT_TOWERS))
        lacking = None if image == text else ("text", "image")[text]
    else:
        parts = ("vision_model.", "visual_projection."), ("text_model.", "text_projection.")
        whole = [all(any(name.startswith(start) for name in shapes) for start in each) for each in parts]
        image_there = any(name.startswith("vision_model.") for name in shapes)
        lacking = None if all(whole) else "text" if image_there and not whole[1] else "image"
    if lacking is not None:
        other = {"image": "text", "text": "image"}[lacking]
        raise EncoderError(
            f"{file} holds the {other} tower of a CLIP without the {lacking} tower, or a tower without its projection "
            "into the space that both share; save the whole model (of transformers, CLIPModel)."
        )


def _check_shapes(model, architecture, file, found):
    """Raise unless ``found``, shapes by name, are those of ``model``."""
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    missing = [name for name in wanted if name not in found]
    wrong = next((name for name in wanted if found.get(name, wanted[name]) != wanted[name]), None)
    if wrong is not None:
        raise EncoderError(
            f"{file} is not of the architecture {architecture}: its {wrong} is {found[wrong]}, not {wanted[wrong]}."
        )
    if missing or len(found) != len(wanted):
        other = missing or [name for name in found if name not in wanted]
        raise EncoderError(
            f"{file} is not of the architecture {architecture}: {len(other)} tensors are "
            f"{'missing' if missing else 'too many'}, such as {other[0]}."
        )


def _check_positions(model, architecture, file, found):
    """Raise if ``file`` is of a model for inputs of another size: open_clip would stretch its embeddings to fit."""
    state = model.state_dict()
    there = (name for name in POSITIONS if name in found and name in state)
    wrong = next((name for name in there if found[name] != tuple(state[name].shape)), None)
    if wrong is not None:
        raise EncoderError(
            f"{file} is not of the architecture {architecture}: its {wrong} is {found[wrong]}, not "
            f"{tuple(state[wrong].shape)}, so it was trained on inputs of another size."
        )


def _shapes(file):
    """Return the shapes of the tensors in ``file`` by name, without reading the rest of it."""
    from safetensors import safe_open

    if file.suffix == ".safetensors":
        with safe_open(file, "pt") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    return {name: tuple(tensor.shape) for name, tensor in _tensors(file).items()}


def _tensors(file):
    """Return the tensors in ``file`` by name, without what a wrapper for several GPUs puts before it."""
    import torch
    from safetensors.torch import load_file

    if file.suffix == ".safetensors":
        return load_file(file)
    content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    content = content.get("state_dict", content)
    tensors = {name: tensor for name, tensor in content.items() if isinstance(tensor, torch.Tensor)}
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
