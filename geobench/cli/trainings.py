"""Trainings as ``geobench models`` lists them."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geobench.checkpoints import Checkpoint


def facts(checkpoint: Checkpoint, chosen: Checkpoint | None) -> dict[str, Any]:
    """Return what the list says of a training; ``chosen`` is what the model's name alone stands for."""
    from geobench.naming import changed_settings
    from geobench.plugins import get_model_class

    return {
        "training": checkpoint.spec,
        "model": checkpoint.model,
        "names": list(checkpoint.label.names),
        "created": checkpoint.created,
        "dataset": checkpoint.dataset,
        "images": checkpoint.images,
        "available": checkpoint.available,
        "encoder": checkpoint.encoder,
        "settings": changed_settings(checkpoint, get_model_class(checkpoint.model).Config),
        "bytes": sum(path.stat().st_size for path in checkpoint.folder.rglob("*") if path.is_file()),
        "candidate": not checkpoint.aside,
        "chosen": chosen is not None and checkpoint.id == chosen.id,
        "aside": checkpoint.aside,
    }


def as_row(training: Mapping[str, Any]) -> dict[str, str]:
    """Return a training as a row of the list."""
    settings = " ".join(f"{name}={value}" for name, value in training["settings"].items())
    part = training["available"] is not None and training["images"] < training["available"]
    remark = training["aside"] or ("NAME alone" if training["chosen"] else "")
    return {
        "training": "\n".join([training["training"], *(f"  {training['model']}@{name}" for name in training["names"])]),
        "date": training["created"][:16].replace("T", " "),
        "data": training["dataset"],
        "n": f"{training['images']:,}" + (f" of {training['available']:,}" if part else ""),
        "encoder": training["encoder"] or "–",
        "settings": "\n".join(wrap(settings, 40)),
        "MB": f"{training['bytes'] / 1e6:.1f}",
        "remark": "\n".join(wrap(remark, 24)),
    }
