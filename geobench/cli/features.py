"""The command ``geobench features``."""

from __future__ import annotations

import json

import click

from geobench.cli.group import AS_JSON, BATCH, CROPS, DEVICE, WORKERS, goes_on, main, print_rows
from geobench.progress import SILENT, ConsoleProgress


@main.command()
@click.argument("dataset")
@click.option(
    "--split",
    type=click.Choice(["train", "test"]),
    default="test",
    show_default=True,
    help="Images to train or test on.",
)
@click.option("--encoder", help="Encoder of the features.  [default: the data set's]")
@CROPS
@click.option("--limit", type=click.IntRange(1), help="Encode so many images.")
@DEVICE
@WORKERS
@BATCH
@AS_JSON
@goes_on
def features(
    dataset: str,
    split: str,
    encoder: str | None,
    crops: str,
    limit: int | None,
    device: str,
    workers: int | None,
    batch_size: int,
    as_json: bool,
) -> None:
    """Encode the images of DATASET and keep their features, which `train` and `run` then find.

    \b
    geobench features im2gps3k --crops 10
    geobench features mp16 --split train --encoder ViT-L-14/openai
    torchrun --nproc-per-node 4 -m geobench features mp16 --split train

    Killed and given again, it goes on; at most 512 images are encoded once more. Images that cannot be read are
    counted, and listed with the reason in failures.jsonl.
    """
    from geobench import extract, get_dataset, get_encoder
    from geobench.devices import default_workers, pick_device
    from geobench.distributed import joined, local_device

    chosen, device = get_dataset(dataset), local_device(pick_device(device))
    with joined(device) as group:
        made = extract(
            chosen,
            chosen.table(split, limit),
            get_encoder(encoder or chosen.default_encoder),
            purpose=split,
            crops=int(crops),
            device=device,
            batch_size=batch_size,
            workers=default_workers(device) if workers is None else workers,
            progress=ConsoleProgress() if group.main else SILENT,
        )
    if not group.main:
        return
    known = {"folder": str(made.folder), "key": made.key, **made.about}
    if as_json:
        click.echo(json.dumps(known, indent=2, ensure_ascii=False))
    else:
        print_rows([{"what": name.replace("_", " "), "value": value} for name, value in known.items()], as_json)
