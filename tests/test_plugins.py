"""Distributions of strangers: a real one that pip installs, and broken ones that must not take the rest down."""

import json
import os
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from geobench import Model, Predictions, get_model, get_models

EXAMPLE = Path(__file__).parent / "example_plugin"
HEAD = "from geobench import Model, Predictions, hookimpl\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Install the tutorial's distribution as pip does it, into a folder of its own; return the folder."""
    source = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("source") / "example")  # pip builds in place
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", target, source], check=True)
    return target


def geobench(*arguments, site, exit_code=0):
    """Run ``geobench`` in a process that also finds the distributions in ``site``; return the finished process."""
    done = subprocess.run(
        [sys.executable, "-m", "geobench", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},  # one core: a busy machine costs less
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done


def listed(what, site):
    return json.loads(geobench(what, "--json", site=site).stdout)


def distribution(site, name, code, entry_points=None):
    """Write the distribution ``name`` with one module as pip leaves it in ``site``."""
    module = name.replace("-", "_")
    (site / f"{module}.py").write_text(HEAD + code)
    info = site / f"{module}-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text(f"[geobench]\n{entry_points or f'{name} = {module}'}\n")


def test_the_example_is_listed_with_its_distribution(installed):
    ours = {row["plugin"]: row for row in listed("plugins", installed) if row["plugin"].startswith("example-")}
    assert ours["example-ridge"]["registers"] == ["model ridge"]
    assert ours["example-datasets"]["registers"] == ["dataset relief-wide"]
    assert {row["distribution"] for row in ours.values()} == {"geobench-example 1.0"}
    assert not any(row["error"] for row in ours.values())


def test_its_model_and_its_data_set_stand_beside_the_bundled_ones(installed):
    models = {row["model"]: row["what"] for row in listed("models", installed)}
    assert models["ridge"] == "ridge regression onto the unit sphere, nearest gallery coordinate"
    assert "geoclip" in models
    datasets = {row["dataset"]: row for row in listed("datasets", installed)}
    assert datasets["relief-wide"]["here"] and datasets["relief-wide"]["images"] == 500
    shown = geobench("models", "show", "ridge", site=installed).stdout
    assert "penalty" in shown and "a number above 0" in shown and "mean variance" in shown


def test_its_model_trains_and_runs_on_its_data_set(installed):
    part = ["--limit", 60, "--name", "small"]
    trained = geobench("train", "ridge", "--data", "relief-wide", *part, "--device", "cpu", site=installed)
    assert trained.stdout.startswith("ridge@relief-wide-s0-")
    assert "penalty=0.1" in trained.stderr  # the data set's own setting, and the user is told
    run = ["run", "--models", "ridge@small", "--datasets", "relief-wide", "--galleries", "land:200"]
    done = geobench(*run, "--limit", 12, "--device", "cpu", site=installed)
    assert "ridge@relief-wide-s0-" in done.stdout
    record = json.loads(next(Path("results").glob("*.json")).read_text())
    assert record["versions"]["geobench-example"] == "1.0"
    assert (record["n"], record["failed"], record["gallery_size"]) == (12, 0, 200)


def test_its_classifier_of_cells_is_short_trains_and_answers(installed):
    source = (EXAMPLE / "geobench_example" / "smooth.py").read_text()
    assert len(source.splitlines()) <= 60
    small = [
        "--name",
        "small",
        "--set",
        "min_images=1",
        "--set",
        "max_images=[40]",
        "--set",
        "batch_size=20",
        "--set",
        "epochs=2",
    ]
    trained = geobench(
        "train", "smooth", "--data", "relief-wide", "--limit", 80, "--device", "cpu", *small, site=installed
    )
    assert trained.stdout.startswith("smooth@relief-wide-s0-")
    run = ["run", "--models", "smooth@small", "--datasets", "relief-wide", "--limit", 12, "--device", "cpu"]
    assert "smooth@relief-wide-s0-" in geobench(*run, site=installed).stdout


def test_its_service_is_short_and_answers(installed):
    source = (EXAMPLE / "geobench_example" / "web.py").read_text()
    body = source[source.index("class Web(") : source.index("@hookimpl")]
    assert len([line for line in body.splitlines() if line.strip()]) <= 20

    class Locator(BaseHTTPRequestHandler):
        def do_POST(self):
            photo = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(photo)
            odd = len(seen) == 3
            content = json.dumps(
                {"error": "no roads"} if odd else {"lat": 10.0, "lon": 20.0, "confidence": 0.7}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Locator) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"url=http://127.0.0.1:{server.server_address[1]}/locate"
        run = [
            "run",
            "--models",
            "web",
            "--datasets",
            "relief-wide",
            "--limit",
            6,
            "--set",
            url,
            "--set",
            "concurrency=1",
        ]
        done = geobench(*run, site=installed)
        server.shutdown()
    assert "web: 5 answered, 1 lost to an error of the service." in done.stdout
    assert len(seen) == 6 and all(photo[:2] == b"\xff\xd8" for photo in seen)
    table = next(Path("results").glob("*.predictions.csv")).read_text().splitlines()
    assert sum("10.0,20.0,0.7" in line for line in table) == 5


def test_a_setting_out_of_range_or_misspelt_is_one_line(installed):
    for assignment, told in (
        ("penalty=-1", "penalty must be a number above 0, not -1."),
        ("penaltie=1", "did you mean penalty?"),
    ):
        done = geobench("train", "ridge", "--set", assignment, site=installed, exit_code=2)
        assert told in done.stderr and done.stderr.count("\n") == 1


BROKEN = {
    "no-import": ("import a_module_that_nobody_has\n", "No module named 'a_module_that_nobody_has'"),
    "wrong-argument": ("@hookimpl\ndef register_models(register, extra): ...\n", "extra"),
    "unknown-hook": ("@hookimpl\ndef register_modells(register): ...\n", "register_modells"),
    "raising-hook": (
        "@hookimpl\ndef register_models(register):\n    raise OSError('the disk is gone')\n",
        "disk is gone",
    ),
    "no-name": (
        "class Fine(Model):\n    name = 'fine'\nclass Nameless(Model): ...\n"
        "@hookimpl\ndef register_models(register):\n    register(Fine)\n    register(Nameless)\n",
        "name",
    ),
    "an-instance": (
        "class Fine(Model):\n    name = 'fine2'\n@hookimpl\ndef register_models(register):\n    register(Fine())\n",
        "class",
    ),
    "bad-toml": (
        "@hookimpl\ndef register_datasets(register):\n    register(__import__('pathlib').Path('no.toml'))\n",
        "no.toml is not a data set definition",
    ),
    "exiting": ("import sys\nsys.exit(3)\n", "SystemExit"),
}


@pytest.fixture
def broken(tmp_path):
    """Return a folder with a distribution for each way to be broken."""
    site = tmp_path / "site"
    site.mkdir()
    for name, (code, _) in BROKEN.items():
        distribution(site, name, code)
    return site


def test_a_plugin_that_fails_is_named_with_its_error_and_the_rest_works(broken):
    rows = {row["plugin"]: row for row in listed("plugins", broken)}
    for name, (_, told) in BROKEN.items():
        assert rows[name]["distribution"] == f"{name} 2.5"
        assert rows[name]["error"] and told in rows[name]["error"], rows[name]
        assert rows[name]["registers"] == []
    assert rows["geobench-knn"]["registers"] == ["model knn"] and not rows["geobench-knn"]["error"]


def test_models_warns_of_plugins_that_failed_and_lists_the_others(broken):
    done = geobench("models", "--json", site=broken)
    names = [row["model"] for row in json.loads(done.stdout)]
    assert "geoclip" in names and not {"fine", "fine2"} & set(names)
    for name in BROKEN:
        assert f"Warning: plugin {name} ({name} 2.5) failed to load and is skipped" in done.stderr


def test_strict_makes_a_failed_plugin_an_error(broken, installed):
    done = geobench("plugins", "--strict", site=broken, exit_code=1)
    assert "no-import" in done.stderr.splitlines()[-1]
    geobench("plugins", "--strict", site=installed)


TWIN = """
class Twin(Model):
    name = {name!r}

@hookimpl
def register_models(register):
    register(Twin)
"""


def test_two_distributions_that_claim_one_name_are_both_named(tmp_path):
    for name in ("left-hand", "right-hand"):
        distribution(tmp_path, name, TWIN.format(name="twin"))
    done = geobench("models", site=tmp_path, exit_code=1)
    assert done.stderr.count("\n") == 1 and "'twin'" in done.stderr
    assert "left-hand 2.5" in done.stderr and "right-hand 2.5" in done.stderr


def test_a_stranger_cannot_take_the_name_of_a_bundled_model(tmp_path):
    distribution(tmp_path, "impostor", TWIN.format(name="geoclip"))
    done = geobench("models", site=tmp_path, exit_code=1)
    assert "geobench-geolocalization" in done.stderr and "impostor 2.5" in done.stderr


class Steady(Model):
    """Answers (0, 0)."""

    name = "steady"
    input = "none"
    uses_gallery = False
    trainable = False

    def locate(self, features, gallery=None, top_k=1):
        return Predictions.of(np.zeros((len(features), 1, 2)), np.ones((len(features), 1)))


class Raises(Steady):
    name = "raises"

    def locate(self, features, gallery=None, top_k=1):
        raise RuntimeError("out of ideas\nand of lines")


class Short(Steady):
    name = "short"

    def locate(self, features, gallery=None, top_k=1):
        return super().locate(features[1:])


class NotANumber(Steady):
    name = "nan"

    def locate(self, features, gallery=None, top_k=1):
        coordinates = np.zeros((len(features), 1, 2))
        coordinates[2, 0, 1] = np.nan
        return Predictions.of(coordinates, np.ones((len(features), 1)))


class Nothing(Steady):
    name = "nothing"

    def locate(self, features, gallery=None, top_k=1):
        return None


class CannotLearn(Steady):
    name = "cannot-learn"
    trainable = True

    def fit(self, training_set, *, seed=0, scratch=None, progress=None):
        raise ZeroDivisionError("division by zero")


class CannotComeBack(CannotLearn):
    name = "cannot-come-back"

    def fit(self, training_set, *, seed=0, scratch=None, progress=None): ...

    def restore(self, state):
        raise AttributeError("no such thing")


WRONG = {
    Raises: "RuntimeError: out of ideas",
    Short: "returned predictions of shape (9, 1, 2)",
    NotANumber: "NaN or out of range, first for image number 2",
    Nothing: "AttributeError",
    CannotLearn: "ZeroDivisionError: division by zero",
    CannotComeBack: "AttributeError: no such thing",
}


def test_a_model_that_misbehaves_is_one_line_and_the_others_of_the_run_finish(cli, register):
    for model in (*WRONG, Steady):
        register("model", model)
    names = [model.name for model in WRONG]
    done = cli("run", "--models", ",".join([*names, "steady"]), "--datasets", "bluemarble", "--limit", 10, exit_code=1)
    failed = [line for line in done.stderr.splitlines() if line.startswith("Failed: ")]
    assert len(failed) == len(WRONG)
    for line, (model, told) in zip(failed, WRONG.items(), strict=True):
        assert line.startswith(f"Failed: {model.name}"), line
        assert "test-distribution 1.0" in line and told in line
    assert len(list(Path("results").glob("bluemarble_steady_*.json"))) == 1
    assert len(list(Path("results").glob("*.json"))) == 1


def test_a_model_that_cannot_learn_is_one_line_in_train_too(cli, register):
    register("model", CannotLearn)
    done = cli("train", "cannot-learn", "--limit", 10, exit_code=1)
    assert done.stderr.splitlines()[-1].startswith("Error: the model cannot-learn (test-distribution 1.0) failed")


def test_python_sees_what_the_command_line_sees(register):
    register("model", Steady)
    assert get_models()["steady"] is Steady
    assert get_model("steady").locate(np.empty((3, 1, 0))).coordinates.tolist() == [[[0.0, 0.0]]] * 3
