"""Merging shards: predictions become results, features those of the whole set. All of what is given, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from geobench import files
from geobench.features.parts import FeatureMerge
from geobench.models import hash_table
from geobench.parts import KIND as PREDICTIONS
from geobench.parts import merged, save_merged
from geobench.plugins import get_dataset, get_encoder
from geobench.progress import SILENT, Progress, WithoutRepeats
from geobench.results import FOLDER
from geobench.sharding import Part, complete, find_parts


def merge(paths: Sequence[Path | str], folder: Path | str = FOLDER, progress: Progress = SILENT) -> list[Path]:
    """Merge the shards at ``paths``; return the record of each result, and the folder of each set of features.

    Args:
        paths: records of shards (``RESULTS/shards/*-of-16.json``), or folders that hold some: the results folder, what
            ``geobench features --shard`` names, copies of these from other machines.
        folder: where results are saved.
        progress: reports the work.

    Raises:
        MergeError: a shard is missing, is there twice, is of something else than the others, damaged, or was made of
            another test set, encoder or other photos than those here. Nothing is merged then.
        SettingError: ``folder`` cannot be written to.
        UnknownNameError: there is no such data set, model or encoder here.
    """
    files.check_folder(Path(folder))
    progress = WithoutRepeats(progress)
    wholes = complete(find_parts([Path(path) for path in paths]))
    results = [(merged(parts, progress), parts) for parts in wholes if parts[0].kind == PREDICTIONS]
    features = [_features(parts, progress) for parts in wholes if parts[0].kind != PREDICTIONS]
    for each in features:
        each.check(progress)
    saved = [save_merged(result, parts, Path(folder), progress) for result, parts in results]
    return saved + [each.join(progress) for each in features]


def _features(parts: Sequence[Part], progress: Progress) -> FeatureMerge:
    stated = parts[0].settings
    dataset = get_dataset(stated["dataset"])
    dataset.prepare(stated["purpose"], progress)
    table = dataset.table(stated["purpose"], stated["images"])
    return FeatureMerge.of(parts, dataset, table, get_encoder(stated["encoder"]), hash_table(table))
