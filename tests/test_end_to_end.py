"""The main job as a user does it: real commands in real processes, real imagery, the real encoder."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from geobench import get_dataset


def geobench(*arguments, home, folder, check=True):
    """Run the command in a process of its own; return what it printed."""
    environment = os.environ | {"GEOBENCH_HOME": str(home)}
    command = [sys.executable, "-m", "geobench", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if check:
        assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A fresh machine: (home, working folder); gws15k's photos are put in place, nothing else is."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("work")
    images = home / "data/gws15k/images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = [("image", "latitude", "longitude")]
    for number in range(5):
        Image.fromarray(rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)).save(images / f"{number}.jpg")
        rows.append((f"{number}.jpg", str(10 * number), str(-20 * number)))
    with (home / "data/gws15k/metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return home, folder


@pytest.fixture(scope="module")
def three_lines(machine):
    """The three commands that must always work, verbatim."""
    home, folder = machine
    lines = [
        "train geoclip",
        "run --models geoclip,classifier --datasets gws15k",
        "report --format markdown",
    ]
    return [geobench(*line.split(), home=home, folder=folder) for line in lines]


@pytest.fixture(scope="module")
def demo(machine, three_lines):
    """The demo, twice, on the machine that has trained two of its models."""
    home, folder = machine
    return [geobench("demo", home=home, folder=folder) for _ in range(2)]


def test_the_three_commands_train_run_and_report(three_lines):
    trained, ran, reported = three_lines
    assert trained.stdout.startswith("geoclip@bluemarble-s0-")
    assert "settings for bluemarble" in trained.stderr
    assert "classifier has no checkpoint: training it first, on bluemarble, like geoclip@bluemarble-s0-" in ran.stderr
    assert "the default gallery 500k is larger than the training set of the model" in ran.stderr
    assert "5 images here, 14,955 in the set its authors describe" in ran.stderr
    table = reported.stdout
    assert "### gws15k" in table and "| geoclip@bluemarble-s0-" in table and "| classifier@bluemarble-s0-" in table
    assert re.search(r"\| GeoCLIP † .* 74\.1 ", table)  # the paper's row, table 1b
    assert "not comparable with published rows" in table


def test_the_demo_reaches_the_accuracies_it_promises(demo, machine):
    home, folder = machine
    rows = json.loads(geobench("report", "--format", "json", home=home, folder=folder).stdout)
    rows = [row for row in rows if row["dataset"] == "bluemarble"]
    assert all(row["n"] >= 1000 and row["failed"] == 0 for row in rows)
    best = {model: [r for r in rows if r["model"] == model] for model in {r["model"] for r in rows}}
    assert len(best["geoclip"]) >= 3
    floors = {"geoclip": (60, 80), "knn": (60, 80), "classifier": (25, 70)}
    for model, (region, continent) in floors.items():
        row = max(best[model], key=lambda r: r["gallery_size"])
        assert row["acc_200km"] >= region and row["acc_2500km"] >= continent, row
    assert all(row["acc_200km"] < 5 for row in best["random"] + best["most-frequent"])


def test_a_second_demo_keeps_everything_and_shows_the_same_table(demo):
    first, second = (text.stdout for text in demo)
    assert first == second
    assert "trained is" not in demo[1].stderr and "saved" not in demo[1].stderr
    assert demo[1].stderr.count("kept the result") == demo[0].stderr.count("saved results")


def test_predict_places_a_photo_and_names_the_one_it_cannot_read(machine, three_lines, tmp_path):
    home, folder = machine
    crop, broken = tmp_path / "crop.png", tmp_path / "broken.jpg"
    get_dataset("bluemarble").read_image("+28.00000+84.00000", "test").save(crop)  # the Himalaya, unlike much else
    broken.write_bytes(b"<html>")
    done = geobench("predict", crop, broken, "--json", home=home, folder=folder, check=False)
    places = json.loads(done.stdout)
    assert done.returncode == 1 and f"Failed: {broken}: broken.jpg: is an HTML page" in done.stderr
    assert [place["rank"] for place in places] == [1, 2, 3, 4, 5]
    assert abs(places[0]["latitude"] - 28) < 5 and abs(places[0]["longitude"] - 84) < 8


SMALL = (
    *("--name", "small", "--data", "bluemarble", "--limit", "700"),
    *("--set", "batch_size=64", "--set", "queue_length=128", "--set", "hidden_dim=64"),
)


def test_interrupted_training_and_runs_started_again_end_with_the_same_table(tmp_path):
    tables = []
    for number, interrupted in enumerate((False, True)):
        home, folder = tmp_path / f"home{number}", tmp_path / f"work{number}"
        folder.mkdir()
        train = ("train", "geoclip", *SMALL, "--epochs", "6")
        run = (
            *("run", "--models", "geoclip@small,knn", "--datasets", "bluemarble"),
            *("--limit", "200", "--galleries", "200,700"),
        )
        for command in (train, run):
            stops = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM) if command is train else (signal.SIGKILL,)
            for stop in stops if interrupted else ():
                _interrupt(command, home, folder, stop)
            geobench(*command, home=home, folder=folder)
        report = geobench("report", "--format", "csv", home=home, folder=folder).stdout
        varying = {"created", "seconds", "peak_memory_mb"}
        tables.append(
            [{k: v for k, v in row.items() if k not in varying} for row in csv.DictReader(report.splitlines())]
        )
    assert tables[0] == tables[1] and len(tables[0]) == 3


def _interrupt(command, home, folder, number):
    """Start ``command`` and send it the signal ``number`` a moment after it began to work."""
    environment = os.environ | {"GEOBENCH_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "geobench", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "loading the encoder" in line or "goes on" in line or "newest checkpoint" in line or "settings" in line:
            break
    time.sleep(1.0)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL if number == signal.SIGKILL else 128 + number), said
    if number != signal.SIGKILL and process.returncode:
        assert "Stopped. The same command, given again, resumes from here." in said
        assert "Traceback" not in said


def test_two_runs_at_once_share_one_home_and_agree(tmp_path):
    home = tmp_path / "home"
    arguments = ["run", "--models", "geoclip@small,knn,random", "--datasets", "bluemarble", "--limit", "100"]
    train = [sys.executable, "-m", "geobench", "train", "geoclip", *SMALL, "--epochs", "2"]
    environment = os.environ | {"GEOBENCH_HOME": str(home)}

    def both(command):
        started = []
        for number in range(2):
            folder = tmp_path / f"work{number}"
            folder.mkdir(exist_ok=True)
            started.append(
                subprocess.Popen(
                    command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
            )
        return [(*process.communicate(timeout=300), process.returncode) for process in started]

    trained = both(train)
    assert [code for *_, code in trained] == [0, 0], trained
    assert trained[0][0] == trained[1][0]  # one checkpoint
    ran = both([sys.executable, "-m", "geobench", *arguments])
    assert [code for *_, code in ran] == [0, 0], ran
    assert ran[0][0] == ran[1][0]


def test_the_command_line_takes_no_torch_to_say_what_it_can():
    heavy = ("torch", "pandas", "timm", "open_clip", "matplotlib")
    code = f"import sys, geobench.cli; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
