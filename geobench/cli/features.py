"""The command ``geobench features``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geobench.cli.group import (
    AS_JSON,
    BATCH,
    CROPS,
    DEVICE,
    ON,
    SHARD,
    SHARDS,
    WORKERS,
    check_shards,
    main,
    print_rows,
    resumable,
)
from geobench.progress import SILENT, ConsoleProgress

if TYPE_CHECKING:
    from geobench.on_cluster import Extraction
    from geobench.progress import Progress


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
@SHARDS
@ON
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
    shards: int | None,
    on: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Encode the images of DATASET and cache their features for `train` and `run`.

    \b
    geobench features im2gps3k --crops 10
    geobench features mp16 --split train --encoder ViT-L-14/openai
    torchrun --nproc-per-node 4 -m geobench features mp16 --split train
    geobench features mp16 --split train --shard 3/16
    geobench features mp16 --split train --shards 16 --on slurm

    If interrupted, run the same command again to resume; at most 512 images are encoded twice. Images that cannot be
    read are counted, and listed with the reason in failures.jsonl.

    With --shard the parts may be made by any scheduler and on machines that share nothing. Where they share
    GEOBENCH_HOME, the command without --shard then joins them; otherwise: geobench merge FOLDER FOLDER …. With --on
    each is a job of a cluster, and they are merged at the end.
    """
    from geobench import extract, get_dataset, get_encoder
    from geobench.devices import default_workers, pick_device
    from geobench.distributed import joined, local_device
    from geobench.errors import SettingError
    from geobench.on_cluster import Extraction

    check_shards(shards, on)
    if shard_text is not None or on:
        if force:
            raise SettingError("--force would remove what other shards have made; leave it out.")
        extraction = Extraction(dataset, split, limit, encoder, int(crops), device, batch_size, workers)
        folder = _apart(extraction, shard_text, shards, on, ConsoleProgress())
        click.echo(json.dumps({"folder": str(folder)}, ensure_ascii=False) if as_json else folder)
        return
    chosen, device = get_dataset(dataset), local_device(pick_device(device))
    with joined(device) as group:
        extracted = extract(
            chosen,
            chosen.table(split, limit),
            get_encoder(encoder or chosen.default_encoder),
            purpose=split,
            crops=int(crops),
            device=device,
            batch_size=batch_size,
            workers=default_workers(device) if workers is None else workers,
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


def _apart(
    extraction: Extraction, shard_text: str | None, shards: int | None, on: str | None, progress: Progress
) -> Path:
    """Extract one shard, or all as jobs of a cluster; return the folder of what was made."""
    from geobench.errors import SettingError
    from geobench.jobs.profile import read_profile
    from geobench.on_cluster import extract_in_jobs, extract_one
    from geobench.sharding import Shard

    if on:
        if shard_text is not None:
            raise SettingError("--on makes all shards, each in a job: give --shards N instead of --shard.")
        return extract_in_jobs(extraction, shards or 1, read_profile(on), progress)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingError("torchrun divides the images by itself; give --shard without torchrun.")
    shard = Shard.parse(shard_text or "")
    folder = extract_one(extraction, shard, progress)
    if folder.suffix == ".partial":
        progress.say(f"shard {shard} is in {folder}; when all {shard.of} are there: geobench merge FOLDER …")
    return folder
