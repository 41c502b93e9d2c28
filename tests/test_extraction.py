import json
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from geobench import Dataset, EncoderError, FeatureError, PluginError, extract, files, get_dataset, get_encoder
from geobench.features import shards as feature_shards
from geobench.features.shards import SHARD_BYTES, SHARD_ROWS, ShardRecord, Shards
from geobench.progress import Progress


class Noting(Progress):
    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)


@pytest.fixture
def mine(photos, own_home):
    photos(10, own_home / "data" / "mine")
    return Dataset("mine", "My photos")


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of two rows."""
    monkeypatch.setattr(feature_shards, "SHARD_ROWS", 2)


@pytest.fixture
def counting(tiny_encoder):
    """An encoder that counts the views it is given and stops before the batch number ``stop_at``."""

    class Counting(type(tiny_encoder)):
        views = batches = 0
        stop_at = None

        def preprocess(self, image):
            self.views += 1
            return super().preprocess(image)

        def encode_images(self, batch):
            if self.batches == self.stop_at:
                raise KeyboardInterrupt
            self.batches += 1
            return super().encode_images(batch)

    return Counting


def photo(dataset, number):
    return dataset.folder / "images" / f"photo-{number}.jpg"


def stop_after(shards, dataset, encoder, verified=True):
    """Extract and stop after the given number of two-row shards; return the folder of the shards.

    ``verified``: the first image is encoded a second time, among blank ones; not if it is alone in its batch.
    """
    encoder.stop_at = shards + verified
    with pytest.raises(KeyboardInterrupt):
        extract(dataset, dataset.table("test"), encoder, batch_size=2)
    (folder,) = (files.home() / "features").glob("*.partial/shards")
    assert len(list(folder.iterdir())) == shards
    return folder


def test_an_interrupted_extraction_resumes_with_the_next_shard(mine, counting, tiny_encoder, small_shards):
    photo(mine, 1).unlink()
    photo(mine, 8).unlink()
    folder, resumed = stop_after(2, mine, counting(), verified=False), counting()
    features = extract(mine, mine.table("test"), resumed, batch_size=2)
    assert resumed.views == 5  # photos 4 to 9 without number 8: the first two shards were done
    assert np.flatnonzero(~features.ok).tolist() == [1, 8]
    failures = [json.loads(line)["image"] for line in (features.folder / "failures.jsonl").read_text().splitlines()]
    assert failures == ["photo-1.jpg", "photo-8.jpg"]
    assert not folder.parent.exists() and not (features.folder / "shards").exists()
    whole = np.array(features.array)
    (features.folder / "about.json").unlink()
    features.folder.rename(files.home() / "before")
    np.testing.assert_array_equal(whole, extract(mine, mine.table("test"), tiny_encoder).array)


@pytest.mark.parametrize("size", [0, 7, 200, -1])
def test_a_damaged_shard_is_recomputed_and_reported(mine, counting, small_shards, size):
    folder, resumed, progress = stop_after(3, mine, counting()), counting(), Noting()
    path = sorted(folder.iterdir())[1]
    os.truncate(path, path.stat().st_size - 1 if size < 0 else size)
    features = extract(mine, mine.table("test"), resumed, progress=progress)
    assert resumed.views == 2 + 4
    assert f"{folder}: 1 shards of features are damaged; they are recomputed." in progress.lines
    assert features.ok.all() and features.array.any(axis=(1, 2)).all()


def test_shards_of_another_size_are_not_reused(mine, counting, small_shards, monkeypatch):
    stop_after(3, mine, counting())
    monkeypatch.setattr(feature_shards, "SHARD_ROWS", 3)
    resumed = counting()
    assert extract(mine, mine.table("test"), resumed).ok.all()
    assert resumed.views == 10


def test_a_finished_extraction_that_was_not_yet_renamed_is_not_repeated(mine, counting):
    features = extract(mine, mine.table("test"), counting())
    features.folder.rename(features.folder.with_suffix(".partial"))
    resumed = counting()
    assert extract(mine, mine.table("test"), resumed).key == features.key
    assert resumed.views == 0


KILLS = """
    import json, os, signal, sys
    import numpy as np
    import torch  # once, for all children
    from geobench import Dataset, Encoder, extract, files
    from geobench.features import shards as feature_shards

    feature_shards.SHARD_ROWS = 4
    out = sys.argv[1]

    class Mean(Encoder):
        name, dim, encoded, views, kill_at = "mean", 3, 0, 0, None
        def load(self, device="cpu"):
            pass
        def describe(self):
            return "mean colour"
        def weights_key(self):
            return "1"
        def preprocess(self, image):
            self.views += 1
            return torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1)
        def encode_images(self, batch):
            if self.encoded == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            self.encoded += 1
            return batch.mean(dim=(2, 3))

    def in_child(work):
        child = os.fork()
        if child == 0:
            work()
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def run(encoder, name):
        dataset = Dataset("mine", "My photos")
        features = extract(dataset, dataset.table("test"), encoder, batch_size=2)
        story = {"views": encoder.views, "about": features.about}
        np.save(f"{out}/{name}.npy", features.array)
        files.write_json(files.home() / f"{name}.json", story)
        features.folder.rename(f"{out}/{name}")

    def killed_in_encoding(moment):
        encoder = Mean()
        encoder.kill_at = moment
        run(encoder, "never")

    def killed_in(method):
        kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        if method == "join":
            write = feature_shards.Shards._read
            feature_shards.Shards._read = lambda self, rows: kill() if rows.start == 8 else write(self, rows)
        else:
            feature_shards.Shards.remove = kill
        run(Mean(), "never")

    # The second call encodes the first image again, among blank ones.
    moments = [(lambda m=m: killed_in_encoding(m), max(m - 1, 0) // 2) for m in (0, 1, 2, 3, 5, 9)]
    moments += [(lambda m=m: killed_in(m), 5) for m in ("join", "remove")]
    codes = [in_child(lambda: run(Mean(), "whole"))]
    for number, (kill, shards) in enumerate(moments):
        codes.append(in_child(kill))
        there = len(list((files.home() / "features").glob("*.partial/shards/0*")))
        codes.append(in_child(lambda: run(Mean(), f"resumed-{number}")))
        story = json.loads((files.home() / f"resumed-{number}.json").read_text())
        print(json.dumps([there, shards, story["views"]]))
    print(json.dumps(codes))
"""


def test_an_extraction_killed_at_any_moment_ends_equal_and_repeats_at_most_one_shard(photos, own_home, tmp_path):
    photos(20, own_home / "data" / "mine")
    photo(Dataset("mine", "My photos"), 6).unlink()
    script = tmp_path / "kills.py"
    script.write_text(textwrap.dedent(KILLS))
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *stories, codes = map(json.loads, done.stdout.splitlines())
    assert codes == [0] + [-signal.SIGKILL, 0] * len(stories)
    for number, (there, finished, views) in enumerate(stories):
        assert there == finished  # of shards of four rows, encoded two by two
        assert views == 20 - 4 * there - (there < 2)  # photo 6 is not there
        for name in ("features.npy", "ok.npy", "digests.npy", "failures.jsonl"):
            assert (tmp_path / f"resumed-{number}" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_shards_are_bounded_in_rows_and_bytes_and_cover_the_set_once(tmp_path):
    for n, views, dim in [(1, 1, 48), (5_000_000, 1, 1280), (100_001, 10, 768), (70_000, 64, 4096), (300, 1, 10**8)]:
        shards = Shards(tmp_path, (n, views, dim))
        ranges = shards.ranges()
        assert max(map(len, ranges)) <= SHARD_ROWS
        assert shards.rows == 1 or shards.rows * views * dim * 4 <= SHARD_BYTES
        assert [rows.start for rows in ranges] == [0, *(rows.stop for rows in ranges[:-1])]
        assert ranges[-1].stop == n
        assert len({shards.path(rows) for rows in ranges}) == len(ranges)


def test_joining_holds_one_shard_in_memory_not_the_whole_set(tmp_path):
    shards = Shards(tmp_path / "shards", (40 * SHARD_ROWS, 1, 256))  # 40 shards of 512 KiB
    rng = np.random.default_rng(0)
    whole = rng.normal(size=shards.shape).astype(np.float32)
    for rows in shards.ranges():
        digests = np.full((len(rows), 2), rows.start + 1, dtype=np.uint64)
        arrays = {"features": whole[rows.start : rows.stop], "ok": np.ones(len(rows), dtype=bool), "digests": digests}
        shards.write(rows, arrays, ShardRecord())
    tracemalloc.start()
    assert len(list(shards.join(tmp_path))) == 40
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 512 * 1024 < whole.nbytes / 4
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy", mmap_mode="r"), whole)
    assert set(np.load(tmp_path / "digests.npy").ravel().tolist()) == {rows.start + 1 for rows in shards.ranges()}


def test_joining_refuses_a_damaged_shard(tmp_path):
    shards = Shards(tmp_path / "shards", (4, 1, 3))
    with pytest.raises(FeatureError, match=r"0000000000-0000000004\.safetensors is damaged or missing"):
        list(shards.join(tmp_path))
    assert not (tmp_path / "features.npy").exists()


def test_a_batch_never_has_more_views_than_asked_for(mine, tiny_encoder):
    sizes = []

    class Noticing(type(tiny_encoder)):
        tile = 32

        def encode_images(self, batch):
            sizes.append(int(batch.flatten(1).any(dim=1).sum()))  # padding is zero
            return super().encode_images(batch)

    extract(mine, mine.table("test"), Noticing(), crops=10, batch_size=24)
    assert sizes == [20, 1, *[20] * 4]  # the first image is encoded again, among blank ones


def test_features_that_are_not_finite_are_refused_and_nothing_is_kept(mine, tiny_encoder):
    class Overflowing(type(tiny_encoder)):
        def encode_images(self, batch):
            return super().encode_images(batch) / 0

    with pytest.raises(EncoderError, match="the encoder tiny returned features that are not finite, in float32 on cpu"):
        extract(mine, mine.table("test"), Overflowing())
    assert not list((files.home() / "features").glob("*/features.npy"))


class Killing:
    """Mixed into an encoder: kills the worker process that decodes."""

    main = os.getpid()

    def preprocess(self, image):
        if os.getpid() != self.main:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().preprocess(image)


class WithoutRoom:
    """Mixed into an encoder: a worker process that decodes can write no more than one byte to a file."""

    main = os.getpid()

    def preprocess(self, image):
        if os.getpid() != self.main:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))
        return super().preprocess(image)


class Failing:
    """Mixed into an encoder."""

    def preprocess(self, image):
        raise ValueError("no such\nthing")


def test_a_killed_worker_is_one_line_and_extraction_can_be_resumed(mine, tiny_encoder):
    encoder = type("Encoder", (Killing, type(tiny_encoder)), {})()
    with pytest.raises(FeatureError) as caught:
        extract(mine, mine.table("test"), encoder, workers=1)
    assert re.fullmatch(
        r"a worker process that decodes images of mine was killed, .*fewer workers .*", str(caught.value)
    )
    assert extract(mine, mine.table("test"), encoder).ok.all()


def test_shared_memory_that_is_full_is_one_line(mine, tiny_encoder):
    encoder = type("Encoder", (WithoutRoom, type(tiny_encoder)), {})()
    with pytest.raises(FeatureError) as caught:
        extract(mine, mine.table("test"), encoder, workers=1)
    assert re.fullmatch(
        r"a worker process that decodes images of mine cannot pass .*shared memory.*", str(caught.value)
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_an_encoder_that_raises_is_one_line_wherever_it_decodes(mine, tiny_encoder, workers):
    encoder = type("Encoder", (Failing, type(tiny_encoder)), {})()
    with pytest.raises(PluginError) as caught:
        extract(mine, mine.table("test"), encoder, workers=workers)
    assert str(caught.value) == "the encoder tiny failed on mine: ValueError: no such"


def test_the_record_says_how_busy_the_encoder_was_and_what_failed(mine, tiny_encoder):
    photo(mine, 3).unlink()
    progress = Noting()
    about = extract(mine, mine.table("test"), tiny_encoder, progress=progress).about
    assert 0 < about["encoder_busy"] < 1
    assert (about["images"], about["failed"], about["processes"]) == (10, 1, 1)
    said = [line for line in progress.lines if "encoder busy" in line]
    assert len(said) == 1 and f"{about['encoder_busy']:.0%} of the time" in said[0]
    assert "features of mine (test): 1 of 10 images could not be read and count as failed." in progress.lines


def test_the_command_extracts_features_and_says_where_they_are(mine, cli, register):
    register("dataset", mine)
    photo(mine, 2).write_text("no image")
    for _ in range(2):  # the second time they come from the cache
        known = json.loads(cli("features", "mine", "--encoder", "tiny", "--crops", "5", "--json").stdout)
        assert (known["images"], known["failed"], known["crops"]) == (10, 1, 5)
        assert np.load(f"{known['folder']}/features.npy").shape == (10, 5, 48)
    assert str(files.home() / "features") in cli("features", "mine", "--encoder", "tiny").stdout
    assert "unknown data set 'nine'" in cli("features", "nine", exit_code=2).output


def test_two_processes_under_torchrun_make_the_same_file_as_one(one_thread, tmp_path):
    dataset, encoder = get_dataset("bluemarble"), get_encoder("efficientnet_lite0@32")
    alone = extract(dataset, dataset.table("train", 1300), encoder, purpose="train")
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "geobench"]
    command = ["features", "bluemarble", "--split", "train", "--limit", "1300", "--encoder", encoder.name, "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GEOBENCH_HOME": str(tmp_path / "two")}
    done = subprocess.run(
        [sys.executable, *launch, *command], env=environment, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    known = json.loads(done.stdout)  # only one of the processes prints
    assert (known["processes"], known["images"], known["failed"], known["key"]) == (2, 1300, 0, alone.key)
    for name in ("features.npy", "digests.npy"):
        assert Path(known["folder"], name).read_bytes() == (alone.folder / name).read_bytes()
