"""The command ``geobench merge``."""

from __future__ import annotations

from pathlib import Path

import click

from geobench.cli.group import RESULTS, main, results_table
from geobench.progress import ConsoleProgress


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@RESULTS
def merge(paths: tuple[Path, ...], folder: Path) -> None:
    """Merge the shards at PATHS: predictions of `run --shard` into results, blocks of `features --shard` into features.

    \b
    geobench run --models knn --datasets im2gps3k --shard 1/2 --predict-only
    geobench run --models knn --datasets im2gps3k --shard 2/2 --predict-only
    geobench merge results/shards

    PATHS are records of shards, RESULTS/shards/*-of-2.json with the predictions beside them, or folders that hold such:
    copied from other machines, or on a shared disk. Predictions are the same bytes as without shards.

    Nothing is merged if a shard is missing, is there twice, or differs from the others in anything that predictions
    depend on, or if it was made of other photos than those here. The shards are left where they are.
    """
    from geobench.merge import merge as merge_shards
    from geobench.results import load_result

    made = merge_shards(paths, folder, ConsoleProgress())
    results = [load_result(path) for path in made if path.is_file()]
    tested = list(dict.fromkeys(result.dataset for result in results))
    if results:
        click.echo("\n" + results_table(folder, tested, shown={result.key for result in results}))
    for path in made:
        if path.is_dir():
            click.echo(path)
