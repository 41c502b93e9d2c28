"""Every command block of the documents runs as it stands, on tiny stand-ins of the data, or says why it does not.

A block that cannot run here has ``<!-- not run: WHY -->`` above it; one of which a command fails on purpose has
``<!-- exits with 1: WHY -->``. What is not run is still parsed: see tests/test_docs.py.
"""

import csv
import io
import json
import re
import shlex
import shutil
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import TINY, TinyEncoder
from PIL import Image

from geobench.cli import main
from geobench.data.land import sample_land
from geobench.plugins import get_dataset, registry

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(
    r"(?:^<!-- (not run|exits with 1): ([^\n]+) -->\n(?:<!-- test-command -->\n)?)?^```(text|python)\n(.*?)^```$",
    re.M | re.S,
)
DOCTESTED = {"README.md": "test_docs.py", "geocoding.md": "test_geocoding.py"}
PROGRAMS = ("geobench ", "pip ", "python ", "torchrun ", "pytest", "cog ", "GEOBENCH_HOME=")
N = 40
CELLS = {"min_images": 1, "max_images": [20, 10, 5], "epochs": 1, "batch_size": 16}
ONE_LEVEL = {**CELLS, "max_images": 10}
SMALL = {
    "geoclip": {"hidden_dim": 32, "hierarchies": 1, "queue_length": 0, "epochs": 1, "batch_size": 16},
    "classifier": CELLS,
    "planet": ONE_LEVEL,
    "isn": {**CELLS, "scene_labels": "kmeans", "scenes": 2},
    "geodecoder": {**CELLS, "max_images": [20, 15, 10, 5], "scenes": 2, "scene_labels": "kmeans"},
    "knn": {"k": 5},
    "most-frequent": {"max_images": 10},
}


def command_blocks(path):
    """Return the line, the marker, its reason, the language and the content of each block of commands or Python."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(text):
        marker, why, language, content = match.groups()
        if language == "python" or content.startswith(PROGRAMS):
            line = text.count("\n", 0, match.start(4))
            found.append((f"{path.name}:{line}", marker, why, language, content))
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory, one_thread):
    """Make photos, tables and predictions as the documents call them, and a home with two models' results on them."""
    folder = tmp_path_factory.mktemp("documents")
    work = folder / "work"
    rng = np.random.default_rng(0)
    for photos in ("photos", "training"):
        _photos(work / photos, rng, photos)
    names, places = _table(work / "photos.csv")
    (work / "weights").mkdir()
    with zipfile.ZipFile(work / "photos.zip", "w") as archive:
        for name in names:
            archive.write(work / "photos" / name, name)
    (work / "shards").mkdir()
    with tarfile.open(work / "shards/0000.tar", "w") as shard:
        for number, (name, place) in enumerate(zip(names, places, strict=True)):
            position = json.dumps({"latitude": float(place[0]), "longitude": float(place[1])}).encode()
            for suffix, content in (("jpg", (work / "photos" / name).read_bytes()), ("json", position)):
                entry = tarfile.TarInfo(f"{number:04}.{suffix}")
                entry.size = len(content)
                shard.addfile(entry, io.BytesIO(content))
    _parquet(work / "osv5m/data", names, work / "photos", places)
    blank = [""] * 11
    lines = [["1", name, *blank[:10], place[1], place[0]] for name, place in zip(names, places, strict=True)]
    _write(work / "list.txt", lines)
    shutil.copy(work / "photos.zip", work / "yfcc4k.zip")
    rows = [[name, *place] for name, place in zip(names, places, strict=True)]
    _write(work / "places.csv", [["image", "latitude", "longitude"], *rows])
    _write(work / "truth.csv", [["image", "latitude", "longitude"], *rows])
    off = [[name, f"{float(a) * 0.99:.5f}", b] for name, a, b in rows]
    _write(work / "theirs.csv", [["image", "latitude", "longitude"], *off])
    _workbook(work / "wide.xlsx", [["image", "latitude", "longitude"], *off])
    keys = ("image", "latitude", "longitude")
    (work / "theirs.jsonl").write_text("\n".join(json.dumps(dict(zip(keys, row, strict=True))) for row in off))
    nested = [{"image": name, "location": {"coordinates": {"latitude": a, "longitude": b}}} for name, a, b in off]
    (work / "answers.jsonl").write_text("\n".join(map(json.dumps, nested)))
    return folder


def _photos(folder, rng, prefix):
    folder.mkdir(parents=True)
    rows = []
    for number, (latitude, longitude) in enumerate(sample_land(N, rng, -50, 60).tolist()):
        name = {0: "one.jpg", 1: "two.jpg"}.get(number, f"{prefix}-{number}.jpg")
        exif = Image.Exif()
        north, east = ("N" if latitude > 0 else "S"), ("E" if longitude > 0 else "W")
        exif[0x8825] = {1: north, 2: (abs(latitude), 0.0, 0.0), 3: east, 4: (abs(longitude), 0.0, 0.0)}
        picture = Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8))
        picture.save(folder / name, exif=exif)
        rows.append([name, f"{latitude:.5f}", f"{longitude:.5f}"])
    _write(folder.with_suffix(".csv"), [["image", "latitude", "longitude"], *rows])


def _write(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def _workbook(path, rows):
    import openpyxl

    book = openpyxl.Workbook()
    for row in rows:
        book.active.append([row[0], *(float(value) if value[-1:].isdigit() else value for value in row[1:])])
    book.save(path)


def _table(path):
    rows = list(csv.reader(path.open()))[1:]
    return [row[0] for row in rows], [row[1:] for row in rows]


def _parquet(folder, names, photos, places):
    import pandas as pd

    folder.mkdir(parents=True)
    images = [{"bytes": (photos / name).read_bytes(), "path": name} for name in names]
    positions = np.array(places, dtype=float)
    table = pd.DataFrame({"image": images, "latitude": positions[:, 0], "longitude": positions[:, 1]})
    table.to_parquet(folder / "test-0000.parquet")


@pytest.fixture
def small_sets(world, monkeypatch):
    """Let the names of the documents stand for sets of a few images, with one home."""
    monkeypatch.setenv("GEOBENCH_HOME", str(world / "home"))
    monkeypatch.setenv("HOME", str(world / "work"))
    work = world / "work"
    small = {"default_encoder": TINY, "default_gallery": "30", "settings": SMALL, "count": N}
    for name in ("im2gps3k", "yfcc4k", "mp16"):
        photos = "training" if name == "mp16" else "photos"
        split = {"images": str(work / photos), "metadata": str(work / f"{photos}.csv")}
        own = replace(get_dataset(name), splits={"train": split, "test": split}, tables={}, variants=(), **small)
        monkeypatch.setitem(registry().datasets, name, own)
    for name in ("bluemarble", "shadedrelief"):
        splits = {split: {"count": N, "seed": seed} for seed, split in enumerate(("train", "test"))}
        monkeypatch.setitem(registry().datasets, name, replace(get_dataset(name), splits=splits, **small))
    return world


def geobench(words):
    """Run ``geobench`` with ``words``; return the exit code and what it printed."""
    done = CliRunner().invoke(main, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def commands(content):
    """Yield the words of each line of a block, a line that goes on in the next being one."""
    for line in content.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield [str(Path(word).expanduser()) if word.startswith("~") else word for word in words]


def fresh(work, results):
    """Put the results that all blocks begin with back into the folder ``work``."""
    shutil.rmtree(work / "results", ignore_errors=True)
    if results.exists():
        shutil.copytree(results, work / "results")


@pytest.fixture
def begun(small_sets, tmp_path, monkeypatch):
    """Add the set ``mine``, train two models and run them, once; return their results, with a copy of the home set."""
    results = small_sets / "results"
    if not results.exists():
        for words in (
            "datasets add mine --images photos --metadata photos.csv --encoder tiny",
            "train geoclip --data mp16",
            "train geoclip",
            "train classifier",
            "run --models geoclip,classifier --datasets im2gps3k,mine",
        ):
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(small_sets / "work")
                code, told = geobench(words.split())
            assert code == 0, told
        shutil.move(small_sets / "work/results", results)
    shutil.copytree(small_sets / "home", tmp_path / "home", dirs_exist_ok=True)
    monkeypatch.setenv("GEOBENCH_HOME", str(tmp_path / "home"))
    return results


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_block_runs_or_says_why_not(document, small_sets, begun, tmp_path, monkeypatch):
    found = command_blocks(document)
    work = tmp_path / "reader"
    shutil.copytree(small_sets / "work", work)
    monkeypatch.chdir(work)
    for where, marker, why, language, content in found:
        if marker == "not run":
            assert len(why) >= 10, f"{where}: why?"
            continue
        fresh(work, begun)
        if language == "python":
            if not content.startswith(">>>"):
                exec(compile(content, where, "exec"), {"__name__": "document"})
            else:
                assert document.name in DOCTESTED, f"{where}: no test runs its examples"
            continue
        codes = []
        for words in commands(content):
            assert words[0] == "geobench", f"{where}: {shlex.join(words)} is not run here; mark the block"
            if words[1:3] == ["datasets", "add"]:
                geobench(["datasets", "remove", words[3]])  # the reader has none of that name yet
            without_clip = ["--encoder", TINY] if words[2:3] == ["add"] and "--images" in words else []
            code, told = geobench([*words[1:], *without_clip])
            assert code in ({0, 1} if marker else {0}), f"{where}: {shlex.join(words)}\n{told}"
            codes.append(code)
            if words[1:3] == ["datasets", "add"]:
                shrink(words[3])
        assert marker is None or 1 in codes, f"{where}: no command exits with 1"


def shrink(name):
    """State in the definition of the set ``name`` settings that train small models on a few photos."""
    toml = get_dataset(name).folder / "dataset.toml"
    lines = [toml.read_text()]
    for model, settings in SMALL.items():
        lines += [f"[settings.{model}]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())]
    toml.write_text("\n".join(lines))


def test_the_blocks_are_found_with_their_markers():
    found = [block for document in DOCUMENTS for block in command_blocks(document)]
    assert len(found) > 50 and {marker for _, marker, *_ in found} == {None, "not run", "exits with 1"}
    run = [content for _, marker, _, _, content in found if marker != "not run"]
    assert sum(content.count("geobench ") for content in run) > 50, "most commands run"


def test_the_tiny_encoder_is_what_the_stand_ins_are_encoded_with(small_sets):
    assert {get_dataset(name).default_encoder for name in ("mp16", "bluemarble")} == {TinyEncoder.name}
