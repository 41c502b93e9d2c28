"""The weights and the gallery that GeoCLIP's authors released: read as tensors, none of their code is imported.

They are in the package ``geoclip`` (1.2 and 1.3 hold the same files), or in a folder: three ``.pth`` files as in the
package, or ``config.json`` and ``model.safetensors`` as on the Hugging Face Hub.
"""

from __future__ import annotations

import json
import pickle
import warnings
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path

from geobench import Checkpoint, CheckpointError, GalleryError
from geobench.provenance import weights_digest

from .config import GeoClipConfig

NAME = "official"
GALLERY = "official:100k"
GALLERY_FILE = "coordinates_100K.csv"
ENCODER = "ViT-L-14/openai"
WIDTH = 768  # of its features
MP16_IMAGES = 4_723_695
HUB_FILE = "model.safetensors"
HUB_BACKBONE = "openai/clip-vit-large-patch14"  # the Hub's name for ENCODER
PTH = {
    "location_encoder": "location_encoder_weights.pth",
    "image_head": "image_encoder_mlp_weights.pth",
    "logit_scale": "logit_scale_weights.pth",
}
"""Our name of each part, and the file that holds it."""
SWITCHES = (
    *("projection", "projection_scale", "fourier", "fourier_rows", "sigma_min", "sigma_max", "hierarchies"),
    *("hidden_dim", "hidden_layers", "dim", "head_dim", "head_relu"),
)
"""What is known of the released model: its architecture. How it was trained is not in the package."""


@dataclass(frozen=True)
class Released(Checkpoint):
    """Released weights. ``source`` is their folder, ``own_gallery`` the spec of the gallery released with them."""

    source: str
    own_gallery: str = GALLERY

    @property
    def folder(self):
        """Return where they are."""
        return Path(self.source)

    @property
    def coordinates(self):
        """Refuse: they were never released with the weights."""
        raise GalleryError(f"{self.spec} came without its training coordinates; its gallery is {self.own_gallery}.")

    def arrays(self):
        """Return the tensors under our names."""
        return read(self.folder)


def find(identifier):
    """Return the checkpoint ``geoclip@identifier``: ``official``, or a folder; None for anything else."""
    if not identifier:
        return None
    folder = Path(identifier).expanduser()
    if identifier == NAME:
        root = package_folder()
        if root is None:
            raise CheckpointError(
                f"geoclip@{NAME} needs the package geoclip, which holds the released weights: pip install geoclip. "
                f"A folder with its files works as well: geoclip@/path/to/folder"
            )
        return _checkpoint(NAME, root / "weights", GALLERY, _versions())
    if folder.is_dir():
        folder = folder.resolve()
        return _checkpoint(str(folder), folder, _gallery_of(folder), {})
    if identifier != folder.name:
        raise CheckpointError(f"there is no folder {identifier} to read released weights of GeoCLIP from.")
    return None


def package_folder():
    """Return the folder ``model`` of the package ``geoclip``, found without importing it; None if not installed."""
    spec = util.find_spec("geoclip")
    for root in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (Path(root) / "model/weights").is_dir():
            return Path(root) / "model"
    return None


def coordinates():
    """Return the 100,000 coordinates (94,123 distinct) of the released gallery."""
    from geobench.data.tables.rows import read_coordinates

    root = package_folder()
    if root is None:
        raise GalleryError("the gallery official is in the package geoclip: pip install geoclip")
    return read_coordinates(root / "gps_gallery" / GALLERY_FILE)


def read(folder):
    """Return the released weights in ``folder`` as float32 arrays under the names of ``network.GeoClip``.

    Raises:
        CheckpointError: a file is missing, damaged, or holds more than tensors; names or shapes are not GeoCLIP's.
    """
    hub = folder / HUB_FILE
    found = _read_hub(hub) if hub.is_file() else _read_pth(folder)
    expected = _expected()
    shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
    wrong = sorted(name for name in expected.keys() | shapes.keys() if expected.get(name) != shapes.get(name))
    if wrong:
        name = wrong[0]
        raise CheckpointError(
            f"{folder} does not hold weights of the released GeoCLIP: {len(wrong)} tensors do not fit, such as {name} "
            f"({shapes.get(name, 'missing')}, should be {expected.get(name, 'absent')})."
        )
    return {name: tensor.detach().float().numpy() for name, tensor in found.items()}


def _checkpoint(identifier, folder, gallery, versions):
    """Return the record of the weights in ``folder``; what was not released stays empty."""
    arrays = read(folder)
    config = asdict(GeoClipConfig())
    return Released(
        model="geoclip",
        id=identifier,
        config={name: config[name] for name in SWITCHES},
        variant="",
        seed=None,
        dataset="mp16",
        images=MP16_IMAGES,
        unreadable=0,
        encoder=ENCODER,
        encoder_weights=ENCODER.partition("/")[2],
        crops=1,
        augmentation={},
        limit=None,
        created="",
        versions=versions,
        device="",
        seconds=0.0,
        weights=weights_digest(arrays),
        source=str(folder),
        own_gallery=gallery,
    )


def _versions():
    """Return the version of the package; empty for a copy that is on the path without being installed."""
    try:
        return {"geoclip": metadata.version("geoclip")}
    except metadata.PackageNotFoundError:
        return {}


def _gallery_of(folder):
    """Return the spec of the gallery in ``folder``, else that of the package."""
    name = _hub_config(folder).get("gallery_file") if (folder / HUB_FILE).is_file() else GALLERY_FILE
    path = folder / Path(str(name)).name
    return str(path) if path.suffix == ".csv" and path.is_file() else GALLERY


def _expected():
    """Return the shapes of the released model's tensors by our names."""
    import torch

    from .network import GeoClip

    with torch.device("meta"):
        network = GeoClip(GeoClipConfig(), WIDTH)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _read_pth(folder):
    """Return the tensors of the three ``.pth`` files; nothing in them is executed."""
    found = {}
    for part, name in PTH.items():
        content = _load(folder / name)
        tensors = content if isinstance(content, dict) else {"": content}
        found |= {f"{part}.{key}".rstrip("."): tensor for key, tensor in tensors.items()}
    return found


def _load(path):
    """Return a tensor or a dictionary of tensors by name; refuse anything else."""
    import torch

    if not path.is_file():
        raise CheckpointError(f"{path} is missing; the released weights are {', '.join(PTH.values())}.")
    try:
        with warnings.catch_warnings(action="ignore"):  # torch warns of foreign pickles in several lines
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(f"{path} holds more than tensors and is refused; nothing in it was executed.") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(f"{path} is damaged or not a file of weights ({reason}).") from None
    tensors = content if isinstance(content, dict) else {"": content}
    if not all(isinstance(key, str) and isinstance(tensor, torch.Tensor) for key, tensor in tensors.items()):
        raise CheckpointError(f"{path} holds more than tensors and is refused; nothing in it was executed.")
    return content


def _read_hub(path):
    """Return the tensors of a release on the Hugging Face Hub."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = _hub_config(path.parent)
    backbone, sigmas = config["backbone"], [float(sigma) for sigma in config["sigma"]]
    if backbone != HUB_BACKBONE or sigmas != GeoClipConfig().sigmas:
        raise CheckpointError(
            f"{path.parent} is built on {backbone} with σ {sigmas}; supported is {HUB_BACKBONE} with "
            f"{GeoClipConfig().sigmas}."
        )
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged or not a file of weights ({error}).") from None
    return {name.replace("image_encoder.mlp.", "image_head."): tensor for name, tensor in tensors.items()}


def _hub_config(folder):
    """Return ``backbone``, ``sigma`` and ``gallery_file`` of a release's ``config.json``."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if config["model_type"] != "geoclip-geolocation" or config["format_version"] != 1:
            raise ValueError("it is not a geoclip-geolocation release of format_version 1")
        wanted = {"backbone": config["backbone"]["repo_id"], "sigma": list(config["sigma"])}
        return wanted | {"gallery_file": config["gallery_file"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} does not describe a release of GeoCLIP ({error}).") from None
