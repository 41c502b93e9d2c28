"""The command ``geobench features``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geobench.cli.group import AS_JSON, BATCH, CROPS, DEVICE, SHARD, WORKERS, main, print_rows, resumable
from geobench.progress import SILENT, ConsoleProgress

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset
    from geobench.features.encoders import Encoder


@main.command()
@click.argument("dataset")
@click.option(
    "--split",
    type=click.Choice(["train", "test"]),
    default="test",
    show_default=True,
    help="Images to train or to test on.",
)
@click.option("--encoder", help="Encoder of the features.  [default: the data set's]")
@CROPS
@click.option("--limit", type=click.IntRange(1), help="Encode at most this many images.")
@DEVICE
@WORKERS
@BATCH
@SHARD
@click.option("--force", is_flag=True, help="Extract again what is cached.")
@AS_JSON
@resumable
def features(
    dataset: str,
    split: str,
    encoder: str | None,
    crops: str,
    limit: int | None,
    device: str,
    workers: int | None,
    batch_size: int,
    shard_text: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Encode the images of DATASET and cache their features for `train` and `run`.

    \b
    geobench features im2gps3k --crops 10
    geobench features mp16 --split train --encoder ViT-L-14/openai
    torchrun --nproc-per-node 4 -m geobench features mp16 --split train
    geobench features mp16 --split train --shard 3/16

    If interrupted, run the same command again to resume; at most 512 images are encoded twice. Images that cannot be
    read are counted, and listed with the reason in failures.jsonl.

    With --shard the parts may be made by any scheduler and on machines that share nothing. Where they share
    GEOBENCH_HOME, the command without --shard then joins them; otherwise: geobench merge FOLDER FOLDER ….
    """
    from geobench import extract, get_dataset, get_encoder
    from geobench.devices import default_workers, pick_device
    from geobench.distributed import joined, local_device

    chosen, device = get_dataset(dataset), local_device(pick_device(device))
    chosen_encoder = get_encoder(encoder or chosen.default_encoder)
    workers = default_workers(device) if workers is None else workers
    if shard_text is not None:
        table = chosen.table(split, limit)
        how = {"purpose": split, "crops": int(crops), "device": device, "batch_size": batch_size, "workers": workers}
        click.echo(_shard(chosen, table, chosen_encoder, shard_text, force, how))
        return
    with joined(device) as group:
        extracted = extract(
            chosen,
            chosen.table(split, limit),
            chosen_encoder,
            purpose=split,
            crops=int(crops),
            device=device,
            batch_size=batch_size,
            workers=workers,
            force=force,
            progress=ConsoleProgress() if group.main else SILENT,
        )
    if not group.main:
        return
    about = {"folder": str(extracted.folder), "key": extracted.key, **extracted.about}
    if as_json:
        click.echo(json.dumps(about, indent=2, ensure_ascii=False))
    else:
        print_rows([{"what": name.replace("_", " "), "value": value} for name, value in about.items()], as_json)


def _shard(
    dataset: Dataset, table: pd.DataFrame, encoder: Encoder, text: str, force: bool, how: dict[str, Any]
) -> Path:
    """Extract one shard, and return where it is."""
    from geobench.errors import SettingError
    from geobench.features.parts import extract_shard
    from geobench.models import hash_table
    from geobench.sharding import Shard

    if force:
        raise SettingError("--force would remove what other shards have made; leave it out.")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingError("torchrun divides the images by itself; give --shard without torchrun.")
    progress = ConsoleProgress()
    shard, table_hash = Shard.parse(text), hash_table(table)
    folder = extract_shard(dataset, table, encoder, shard, table_hash=table_hash, progress=progress, **how)
    progress.say(f"shard {shard} is in {folder}; when all {shard.of} are there: geobench merge {folder}")
    return folder
