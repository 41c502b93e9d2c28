"""The package ``geoclip`` as a reference: its own code, without the CLIP backbone, which its wheel does not contain.

Its modules are loaded from the installed package, bypassing its ``__init__``, so that ``transformers`` is not needed:
``pip install --no-deps geoclip`` is enough. The backbone is replaced with one that returns its input, so that the model
takes backbone features (n, 768) instead of images; everything else is the authors' code.
"""

import contextlib
import importlib
import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType

ALIAS = "geoclip_reference"


def find():
    """Return the folder of the installed package, None if it is not installed."""
    spec = importlib.util.find_spec("geoclip")
    roots = (spec.submodule_search_locations or ()) if spec is not None else ()
    return next((Path(root) for root in roots if (Path(root) / "model/location_encoder.py").is_file()), None)


def load(name):
    """Return the module ``name`` of the package, such as ``model.location_encoder``."""
    root = find()
    for package in ("", ".model", ".train"):
        if ALIAS + package not in sys.modules:
            module = ModuleType(ALIAS + package)
            module.__path__ = [str(root / package.lstrip("."))]
            sys.modules[ALIAS + package] = module
    if name == "model.GeoCLIP":
        return _with_transparent_backbone()
    return importlib.import_module(f"{ALIAS}.{name}")


def geoclip(queue_size=4096):
    """Return the package's model with its released weights; ``model(features, coordinates)`` gives logits."""
    return load("model.GeoCLIP").GeoCLIP(queue_size=queue_size, clip_pretrained=False)


def training_steps(batch, queue, width, device="cpu", n=1):
    """Return a function that takes ``n`` training steps on random features in the package's own loop: Adam, float32."""
    import torch

    model = load("model.GeoCLIP").GeoCLIP(from_pretrained=False, queue_size=queue, clip_pretrained=False).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-5, weight_decay=1e-6)
    images = torch.randn(batch, width, device=device)
    places = torch.rand(batch, 2, device=device) * 90
    train = load("train.train").train

    def steps():
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            train([(images, places)] * n, model, optimiser, 0, batch, device)

    return steps


def flush(model):
    """Set subnormal parameters to zero, which makes a CPU far faster; return how many there were."""
    import torch

    count = 0
    with torch.no_grad():
        for parameter in model.parameters():
            small = (parameter.abs() < torch.finfo(parameter.dtype).tiny) & (parameter != 0)
            parameter[small] = 0
            count += int(small.sum())
    return count


def _with_transparent_backbone():
    """Import the model with a temporary stand-in for ``transformers``."""
    from torch import nn

    class Backbone(nn.Module):
        def __init__(self, config):
            super().__init__()

        def get_image_features(self, pixel_values):
            return pixel_values

    stand_in = ModuleType("transformers")
    stand_in.CLIPModel = Backbone
    stand_in.AutoProcessor = stand_in.CLIPImageProcessor = stand_in.CLIPConfig = lambda **options: None
    real = sys.modules.get("transformers")
    sys.modules["transformers"] = stand_in
    try:
        return importlib.import_module(f"{ALIAS}.model.GeoCLIP")
    finally:
        del sys.modules["transformers"]
        if real is not None:
            sys.modules["transformers"] = real
