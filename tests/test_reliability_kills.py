"""Training, run and extraction, killed by SIGKILL at any moment, end with the same files as without interruption."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

IMAGES, SEED = 40, 0
MOMENTS = {"train": 18, "run": 20, "extraction": 12}
"""Drawn over the whole job: before a file is changed, during a change (a file just opened), or after some time."""
AGAIN = 20
"""The job that resumes after that is killed once more, at one of its first changes, up to this many."""
KINDS = ("event", "torn", "time")
SETTINGS = {
    "batch_size": 8, "epochs": 5, "holdout": 0.1, "hidden_dim": 16, "dim": 16, "fourier_rows": 8, "head_dim": 16,
    "queue_length": 16, "lr": 1e-3,
}  # fmt: skip
OF_THE_MOMENT = {
    "created", "seal", "seconds", "peak_memory_mb", "encoder_busy", "images_per_second_of_each", "seconds_of_all_processes", "processes",
}  # fmt: skip


def draws():
    """Yield job, kind, the share of the whole job after which it is ended, and the change to end it in again."""
    rng = random.Random(SEED)
    for job, n in MOMENTS.items():
        for number in range(n):
            yield job, KINDS[number % 3], (number + rng.random()) / n, rng.randrange(AGAIN)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Make a folder with a few photos, one of them cut off, and the table of a data set."""
    folder = tmp_path_factory.mktemp("kills")
    rng = np.random.default_rng(SEED)
    lines = ["image,latitude,longitude"]
    for number in range(IMAGES):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)
        lines.append(f"{path.name},{rng.uniform(-60, 70):.4f},{rng.uniform(-180, 180):.4f}")
    (folder / "7.png").write_bytes((folder / "7.png").read_bytes()[:60])
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    settings = "".join(f"{name} = {value}\n" for name, value in SETTINGS.items())
    (folder / "dataset.toml").write_text(
        f'name = "mine"\ntitle = "Mine"\nstatus = "own"\ndefault_encoder = "tiny"\n[settings.geoclip]\n{settings}'
        f'[splits.all]\nimages = "{folder}"\nmetadata = "{folder / "metadata.csv"}"\n'
    )
    return folder


@pytest.fixture(scope="module")
def ask(photos):
    """Return a function that runs a job below a folder, ended where it says; returns what is said of it."""
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("killed.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )

    def run(job, work, **moment):
        home = work / "home"
        if not home.exists():
            (home / "data" / "mine").mkdir(parents=True)
            shutil.copy(photos / "dataset.toml", home / "data" / "mine" / "dataset.toml")
        server.stdin.write(json.dumps({"job": job, "home": str(home), "work": str(work), **moment}) + "\n")
        server.stdin.flush()
        told = json.loads(server.stdout.readline())
        assert "error" not in told, told["error"]
        return told

    yield run
    server.stdin.close()
    server.wait(timeout=60)


@pytest.fixture(scope="module")
def uninterrupted(ask, tmp_path_factory):
    """Return a function that gives what a job leaves when nothing ends it, its changes of files and its seconds."""
    known = {}

    def of(job):
        if job not in known:
            ask(job, tmp_path_factory.mktemp(job), imports=True)
            work = tmp_path_factory.mktemp(job)
            told = ask(job, work)
            known[job] = left(work), told["events"], told["seconds"]
        return known[job]

    return of


def left(work):
    """Return all that a job has left below ``work`` under a name that is read, without times and measures."""
    return {
        path.relative_to(work).as_posix(): comparable(path)
        for path in sorted(work.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock") and "/." not in path.relative_to(work).as_posix()
    }


def comparable(path):
    if path.name == "log.jsonl":
        return [{**json.loads(line), "images_per_s": 0, "waited": 0} for line in path.read_text().splitlines()]
    if path.suffix == ".json":
        values = json.loads(path.read_text())
        return {name: value for name, value in values.items() if name not in OF_THE_MOMENT}
    return path.read_bytes()


@pytest.mark.reliability("kills")
@pytest.mark.parametrize(("job", "kind", "share", "again"), list(draws()))
def test_a_killed_job_ends_with_the_same_files_as_an_uninterrupted_one(
    job, kind, share, again, ask, uninterrupted, tmp_path
):
    expected, events, seconds = uninterrupted(job)
    after_s = share * seconds
    for trial in range(8):
        work = tmp_path / str(trial)
        work.mkdir()
        at_event = {"at_event": int(share * events), "torn": kind == "torn"}
        moment = {"after_s": after_s} if kind == "time" else at_event
        if ask(job, work, **moment)["signal"]:
            break
        after_s /= 2  # it was faster than the one before
    else:
        pytest.fail("never killed")
    ask(job, work, at_event=again, torn=True)
    assert ask(job, work)["signal"] == 0
    found = left(work)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value == expected[name], name


def test_there_are_fifty_moments():
    assert sum(MOMENTS.values()) == len(list(draws())) == 50
