"""The command ``geobench features``."""

from __future__ import annotations

import json

import click

from geobench.cli.group import AS_JSON, BATCH, CROPS, DEVICE, WORKERS, main, print_rows, resumable
from geobench.progress import SILENT, ConsoleProgress


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
    force: bool,
    as_json: bool,
) -> None:
    """Encode the images of DATASET and cache their features for `train` and `run`.

    \b
    geobench features im2gps3k --crops 10
    geobench features mp16 --split train --encoder ViT-L-14/openai
    torchrun --nproc-per-node 4 -m geobench features mp16 --split train

    If interrupted, run the same command again to resume; at most 512 images are encoded twice. Images that cannot be
    read are counted, and listed with the reason in failures.jsonl.
    """
    from geobench import extract, get_dataset, get_encoder
    from geobench.devices import default_workers, pick_device
    from geobench.distributed import joined, local_device

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
