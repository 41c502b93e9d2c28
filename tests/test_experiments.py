"""Experiments: the paper's tables as grids of reusable evaluations, shown next to the published rows."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from geobench import Model, Predictions
from geobench.checkpoints import get_checkpoints
from geobench.errors import ExperimentError
from geobench.experiments.definitions import experiment_names, get_experiment
from geobench.experiments.planning import Changes, TooManyEvaluationsError, make_plan
from geobench.experiments.plans import with_galleries_that_exist
from geobench.experiments.progress import BarsOnly, TrainingMessages, WithoutRepeats
from geobench.experiments.run import _too_few, run_plan
from geobench.jobs import CrashedTask, run_in_processes
from geobench.plugins import get_dataset, get_model_class
from geobench.progress import SILENT, ForwardedMessages, Progress
from geobench.published.rows import published_rows
from geobench.settings import as_dict, configure, parse_assignments

pytestmark = pytest.mark.usefixtures("one_thread")

REFERENCE = Path(__file__).parents[1] / "results/reference/experiments"
SMALL = """
title = "Two switches"
source = "GeoCLIP (NeurIPS 2023), table 2a"
model = "geoclip"
data = "bluemarble"
datasets = ["bluemarble"]
encoder = "tiny"
limit = 96
seeds = [0, 1]
settings = { batch_size = 32, queue_length = 0, hidden_dim = 16, dim = 16, head_dim = 16, fourier_rows = 8, epochs = 2 }
[[rows]]
title = "+EEP +RFF"
settings = { sigma_list = [16] }
[[rows]]
title = "sigma {sigma_min}, dim {dim}"
published = ""
vary = { sigma_min = [1.0, 2.0], dim = [8, 16] }
"""
FLOOR = """
title = "The floor"
model = "random"
data = "bluemarble"
datasets = ["bluemarble"]
limit = 60
[[rows]]
title = "random, gallery {gallery}"
seeds = [0, 1]
vary = { gallery = ["20", "land:30"] }
[[rows]]
title = "most frequent"
model = "most-frequent"
"""


@pytest.fixture
def toml(tmp_path):
    """Return a function that writes a definition; each pair is a replacement in its text."""

    def write(text=SMALL, *pairs, name="mine"):
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        return path

    return write


def results():
    """Return the records of results by file name."""
    return {path.name: json.loads(path.read_text()) for path in Path("results").glob("[!.]*.json")}


def times(home):
    """Return when each checkpoint and each result was written."""
    written = [*(home / "checkpoints").glob("*/*/checkpoint.json"), *Path("results").glob("[!.]*.json")]
    return {
        path.name if path.parent.name == "results" else path.parent.name: path.stat().st_mtime_ns for path in written
    }


# The bundled experiments


@pytest.mark.parametrize("name", experiment_names())
def test_a_bundled_experiment_runs_what_reproduces_its_published_rows(name):
    plan = make_plan(get_experiment(name))
    shown = [published_rows(dataset) for dataset in plan.datasets]
    for row in plan.rows:
        judges = [each for rows in shown for each in rows.to_dict("records") if _same(each, row)]
        if name.startswith("table"):
            assert len(judges) == len(plan.datasets), row.title
        for judge in (each for each in judges if row.run and each["repeats"]):  # its own network, or one like it
            model, *settings = judge["repeats"].split()
            assert model == row.model, row.title
            config = get_model_class(model).Config
            expected = as_dict(configure(config, parse_assignments(settings), model))
            assert as_dict(configure(config, row.choices["settings"], model)) == expected, row.title
            assert judge["trained_on"] in (row.choices["data"], "")
            assert judge["encoder"] in (row.choices["encoder"], "", "that of Vo et al. 2017")
            assert judge["crops"] in (str(row.choices["crops"]), "")


def _same(published, row):
    return (published["source"], published["model"]) == (row.source, row.published)


@pytest.mark.parametrize("name", [name for name in experiment_names() if name.startswith("table")])
def test_a_bundled_table_has_the_rows_of_the_published_one_in_their_order(name):
    plan = make_plan(get_experiment(name))
    for dataset in plan.datasets:
        rows = published_rows(dataset)
        printed = rows.loc[rows["source"] == plan.experiment.source, "model"].tolist()
        assert [row.published for row in plan.rows] == printed


def test_all_tables_of_the_paper_are_bundled():
    tables = {f"table-{name}" for name in ("1a", "1b", "2a", "2b", "s1", "s2", "s3", "s4", "s5", "s6")}
    assert set(experiment_names()) == tables | {
        "figure-3",
        "figure-s1",
        "fine-tuning",
        "sigma-sweep",
        "system-ablations",
    }


@pytest.mark.parametrize("name", experiment_names())
def test_a_bundled_experiment_is_scaled_to_embedded_imagery_with_as_many_rows(name):
    paper, here = (make_plan(get_experiment(name), Changes(data=data)) for data in (None, "bluemarble"))
    assert [row.published for row in here.rows] == [row.published for row in paper.rows]
    trained = [row for row in here.rows if row.run]
    assert all(row.choices["crops"] == 1 and row.choices["encoder"] is None for row in trained)
    assert all(
        row.changed["batch_size"] == (256, 512) for row in trained if row.model == "geoclip" and "%" not in row.title
    )
    settings = [(row.model, row.gallery, row.choices.get("fraction"), repr(row.choices["settings"])) for row in trained]
    assert len(set(settings)) == len(trained)


def test_trainings_and_evaluations_are_counted(cli):
    rows = {row["experiment"]: row for row in json.loads(cli("experiment", "list", "--json").stdout)}
    counted = {name: (row["trainings"], row["evaluations"]) for name, row in rows.items()}
    assert counted["table-2a"] == (12, 12)  # 4 rows, 3 seeds
    assert counted["table-s2"] == (3, 36)  # one model, 3 seeds; 4 galleries and 3 test sets of each
    assert counted["table-1a"] == (19, 19)  # kNN once, the other six three times
    output = cli("experiment", "show", "table-s3", "--seeds", "5").output
    assert "queue length 65536" in output and "8 trainings, 8 evaluations." in output


def test_listing_and_showing_load_no_torch():
    code = (
        "import sys, geobench.cli; geobench.cli.main(['experiment', 'show', 'table-2a'], standalone_mode=False); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


# Running


def test_each_row_of_a_grid_is_trained_and_evaluated_once_and_reused_afterwards(cli, toml, own_home):
    path = toml()
    arguments = ("experiment", "run", path, "--test-limit", 40)
    first = cli(*arguments)
    plan = make_plan(get_experiment(str(path)))
    assert [row.title for row in plan.rows] == [
        "+EEP +RFF",
        *(f"sigma {sigma}, dim {dim}" for sigma in ("1.0", "2.0") for dim in (8, 16)),
    ]
    assert len(get_checkpoints()) == len(results()) == plan.trainings == plan.evaluations == 10
    assert {
        (c.config["sigma_min"], c.config["dim"], c.seed) for c in get_checkpoints() if not c.config["sigma_list"]
    } == {(sigma, dim, seed) for sigma in (1.0, 2.0) for dim in (8, 16) for seed in (0, 1)}
    assert "evaluation 10 of 10: sigma 2.0, dim 16, seed 1, on bluemarble: trained in" in first.output

    before = times(own_home)
    again = cli(*arguments)
    assert times(own_home) == before
    assert again.output.count("already done, bluemarble_geoclip_") == 10 and "trained in" not in again.output
    assert again.stdout == first.stdout  # the table


def test_the_table_has_mean_and_standard_deviation_of_the_seeds_above_the_published_row(cli, toml):
    cli("experiment", "run", toml(), "--test-limit", 40)
    ours = [r for r in results().values() if r["config"]["sigma_list"] == [16.0]]
    values = [result["scores"]["acc_2500km"] for result in ours]
    mean, spread = np.mean(values), np.std(values, ddof=1)
    table = cli("experiment", "report", "mine", "--format", "markdown").stdout
    rows = [line for line in table.splitlines() if line.startswith("| +EEP +RFF")]
    assert "ours, 2 seeds" in rows[0] and f"{mean:.2f} ± {spread:.2f}" in rows[0]
    assert "paper, table 2a" in rows[1] and " 82.98 " in rows[1] and " im2gps3k " not in rows[0]
    assert "Street 1 km" in table and "Continent 2500 km" in table


def test_a_row_with_one_seed_has_a_confidence_interval(cli, toml):
    cli("experiment", "run", toml(), "--test-limit", 40, "--seeds", 1)
    (path,) = Path("results/experiments").glob("*.json")
    line = json.loads(path.read_text())["lines"][0]
    (result,) = [r for r in results().values() if r["config"]["sigma_list"]]
    assert line["seeds"] == [1] and "acc_25km_sd" not in line
    low, high = line["acc_2500km_low"], line["acc_2500km_high"]
    assert low < result["scores"]["acc_2500km"] == line["acc_2500km"] < high
    assert f"[{low:.2f}, {high:.2f}]" in cli("experiment", "report", path).stdout


def test_the_record_holds_the_definition_the_versions_and_the_checkpoint_of_every_evaluation(cli, toml):
    path = toml()
    cli("experiment", "run", path, "--test-limit", 40, "--seeds", 0)
    (saved,) = Path("results/experiments").glob("mine-bluemarble-*.json")
    record = json.loads(saved.read_text())
    assert record["definition"] == path.read_text()
    assert {"geobench", "torch"} <= set(record["versions"])
    assert {cell["spec"] for cell in record["cells"]} == {c.spec for c in get_checkpoints()}
    assert {cell["result"] for cell in record["cells"]} == set(results())
    with saved.with_suffix(".csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["of"] for line in lines].count("ours") == 5
    assert lines[0]["acc_25km"] == repr(record["lines"][0]["acc_25km"])


def test_results_on_other_data_are_not_comparable_and_scaled_settings_are_listed(cli):
    small = ("hidden_dim=16", "batch_size=32", "queue_length=32", "dim=16")
    sets = [word for text in small for word in ("--set", text)]
    arguments = ("--data", "bluemarble", "--encoder", "tiny", "--limit", 96, "--test-limit", 40, "--epochs", 1)
    table = cli("experiment", "run", "table-2b", *arguments, *sets, "--seeds", 0, "--format", "json").stdout
    record = json.loads(table)
    ours = [line for line in record["lines"] if line["of"] == "ours"]
    assert [line["verdict"] for line in ours] == ["not comparable"] * 5
    assert ours[1]["reason"] == "test set bluemarble, published im2gps3k"
    notes = "\n".join(record["notes"])
    assert "trained on bluemarble (96 images), tested on bluemarble, in place of mp16 and im2gps3k" in notes
    assert "Overhead crops" in notes
    assert "GeoCLIP (Fine): sigma_list [16], there [256]." in notes
    assert "epochs 1, there 10" in notes
    assert "classifier" in {result["model"] for result in results().values()}  # which has no queue to set


def test_the_same_data_with_other_settings_are_not_comparable_either(cli, photos, own_home):
    photos(8, folder=own_home / "data/im2gps3k")
    photos(40, folder=own_home / "data/mp16", seed=1)
    sets = ["batch_size=8", "queue_length=8", "hidden_dim=16", "epochs=1"]
    words = [word for text in sets for word in ("--set", text)]
    arguments = ("--encoder", "tiny", "--crops", 1, "--seeds", 0, *words, "--format", "json")
    ours = json.loads(cli("experiment", "run", "table-s6", *arguments).stdout)["lines"][0]
    assert (ours["verdict"], ours["dataset"], ours["n"]) == ("not comparable", "im2gps3k", 8)
    assert ours["reason"].startswith("other settings: batch_size, epochs")
    plain = json.loads(
        cli(
            "experiment",
            "run",
            "table-1a",
            "--encoder",
            "tiny",
            "--crops",
            1,
            "--limit",
            40,
            "--seeds",
            0,
            "--format",
            "json",
            exit_code=1,
        ).stdout
    )
    knn = plain["lines"][0]  # GeoCLIP fails: fewer images than a batch
    assert knn["verdict"] == "not comparable" and "n 8, published 2,997" in knn["reason"]


def test_galleries_larger_than_the_training_set_are_replaced_by_all_of_it_once():
    plan = make_plan(get_experiment("table-s2"), Changes(data="bluemarble", limit=6000))
    fitting, remarks = with_galleries_that_exist(plan, lambda data, limit: limit)
    assert [row.gallery for row in fitting.rows] == ["1k", "5k", "6000"]
    assert [line.partition(":")[0] for line in remarks] == ["GeoCLIP, gallery 10k", "GeoCLIP, gallery 21k"]
    assert "6,000 training images; all of them" in remarks[0] and "left out" in remarks[1]


def test_requested_galleries_replace_those_of_the_rows():
    asked = Changes(data="bluemarble", galleries=["1k", "land:5k"])
    varied, plain = (make_plan(get_experiment(name), asked) for name in ("table-s2", "table-2b"))
    assert [(row.title, row.gallery) for row in varied.rows] == [
        ("GeoCLIP, gallery 1k", "1k"),
        ("GeoCLIP, gallery land:5k", "land:5k"),
    ]
    assert [row.title for row in plain.rows[:3]] == [
        "C (w/ H)",  # uses no gallery
        "GeoCLIP (Coarse), gallery 1k",
        "GeoCLIP (Coarse), gallery land:5k",
    ]
    assert plain.trainings == 15


def test_the_smallest_gallery_that_does_as_well_is_named_below_a_table_of_galleries(cli, toml):
    table = cli("experiment", "run", toml(FLOOR), "--test-limit", 50).stdout
    smallest = "Smallest gallery within the 95 % confidence interval of the best, bluemarble: "
    assert f"{smallest}training:20 at 750 km, training:20 at 2500 km." in table
    assert "Not at 1 km, 25 km, 200 km: no gallery has a single hit there." in table


def test_the_columns_of_a_table_may_be_any_metrics(cli, toml):
    columns = 'limit = 60\ncolumns = ["acc_5000km", "geoscore@2000", "country"]'
    done = cli("experiment", "run", toml(FLOOR, ("limit = 60", columns)), "--test-limit", 50)
    assert re.search(r"Within +GeoScore +Country", done.stdout) and re.search(r"5000 km +2,000 km +hit", done.stdout)
    record = json.loads(next(Path("results/experiments").glob("*.json")).read_text())
    line = next(line for line in record["lines"] if line["title"] == "most frequent")
    assert line["acc_5000km_low"] < line["acc_5000km"] < line["acc_5000km_high"]
    assert line["acc_25km"] is not None, "the scores of the test set are in the record too"
    assert f"{line['acc_5000km']:.2f}" in done.stdout
    assert all(line["geoscore@2000"] > line["geoscore"] for line in record["lines"])


def test_a_training_serves_all_of_its_galleries(cli, toml):
    cli("experiment", "run", toml(FLOOR), "--test-limit", 50)
    assert len(get_checkpoints("random")) == 2 and len(get_checkpoints("most-frequent")) == 1
    assert sorted((r["model"], r["gallery"], r["training_seed"]) for r in results().values()) == [
        ("most-frequent", "", 0),
        *(("random", gallery, seed) for gallery in ("land:30", "training:20") for seed in (0, 1)),
    ]


def test_an_evaluation_that_fails_is_named_and_the_others_are_done(cli, toml, register):
    class Broken(Model):
        name, input, uses_gallery = "broken", "none", False

        def fit(self, training_set, *, seed=0, scratch=None, progress=None):
            if seed:
                raise ValueError("a bug in it")

        def locate(self, features, gallery=None, top_k=1):
            return Predictions.of(np.zeros((len(features), 1, 2)), np.ones((len(features), 1)))

    register("model", Broken)
    path = toml(FLOOR, ('model = "most-frequent"', 'model = "broken"\nseeds = [0, 1]'), ("most frequent", "faulty"))
    done = cli("experiment", "run", path, "--test-limit", 30, exit_code=1)
    assert "Failed: faulty, seed 1, on bluemarble: the model broken" in done.stderr
    assert "ValueError: a bug in it" in done.stderr and "Traceback" not in done.output
    assert len(results()) == 5
    assert "ours, 1 of 2 seeds" in done.stdout


def test_a_missing_test_set_fails_before_anything_is_trained_for_it(cli, toml):
    path = toml(FLOOR, ('datasets = ["bluemarble"]', 'datasets = ["gws15k"]'))
    done = cli("experiment", "run", path, exit_code=1)
    assert "gws15k is not on this machine" in done.stderr and "and 4 more evaluations" in done.stderr
    assert get_checkpoints() == []


def test_a_missing_training_set_is_one_line_with_an_alternative(cli):
    output = cli("experiment", "run", "table-2a", exit_code=1).output
    assert "mp16 is not on this machine" in output and "--data bluemarble" in output


def test_a_dry_run_does_nothing(cli, toml, own_home):
    output = cli("experiment", "run", toml(FLOOR), "--dry-run").output
    assert "3 trainings, 5 evaluations." in output
    assert not own_home.exists() and not Path("results").exists()


def test_ctrl_c_says_what_is_saved_and_how_to_resume(cli, toml, register):
    class Stopped(Model):
        name, input, uses_gallery = "stopped", "none", False

        def fit(self, training_set, *, seed=0, scratch=None, progress=None):
            raise KeyboardInterrupt

    register("model", Stopped)
    output = cli("experiment", "run", toml(FLOOR, ('"most-frequent"', '"stopped"')), exit_code=130).output
    assert "2 of 5 evaluations are finished and saved." in output
    assert "The same command, given again, resumes from here." in output


KILLED = """
import sys
sys.path.insert(0, {tests!r})
import torch
from conftest import TinyEncoder
from geobench.cli import main
from geobench.plugins import registry
torch.set_num_threads(1)
registry().encoders["tiny"] = lambda name: TinyEncoder()
main({arguments!r})
"""


def test_after_a_kill_no_finished_evaluation_is_repeated(toml, own_home):
    path = toml(SMALL, ("epochs = 2", "epochs = 12"))
    arguments = ["experiment", "run", str(path), "--test-limit", "40"]
    command = [sys.executable, "-c", KILLED.format(tests=str(Path(__file__).parent), arguments=arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("evaluation 3 of 10"):
                break
        time.sleep(0.05)  # into the next training
        process.send_signal(signal.SIGKILL)
    done = times(own_home)
    assert 6 <= len(done) < 20  # three trainings and three evaluations or a little more, of ten each
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    after = times(own_home)
    assert len(after) == 20
    assert {name: after[name] for name in done} == done
    assert again.stderr.count(": already done, ") == sum(name.endswith(".json") for name in done)
    assert again.stderr.count("saved geoclip@") == 20 - 10 - sum(not name.endswith(".json") for name in done)


def test_the_example_of_the_documentation_is_an_experiment_of_the_size_it_says(toml):
    page = (Path(__file__).parents[1] / "docs/experiments.md").read_text(encoding="utf-8")
    plan = make_plan(get_experiment(str(toml(page.split("```toml\n")[1].partition("```")[0]))))
    assert (len(plan.rows), plan.trainings, plan.evaluations) == (7, 21, 42)
    assert "trains 7 rows × 3 seeds = 21 models and evaluates each on two sets" in page


def test_data_without_scaled_settings_are_reported(cli, toml):
    definition = FLOOR.replace('data = "bluemarble"', 'data = "gws15k"')
    arguments = ("--data", "bluemarble", "--datasets", "bluemarble", "--test-limit", 20)
    output = cli("experiment", "run", toml(definition), *arguments).output
    assert "mine has no settings scaled to bluemarble; its original settings are used" in output


def test_fewer_images_than_a_batch_are_reported_before_anything_is_trained(toml):
    definition = FLOOR.replace('model = "random"', 'model = "geoclip"')
    plan = make_plan(get_experiment(str(toml(definition))), Changes(limit=200, settings={"batch_size": 512}))
    (line,) = _too_few(plan, lambda data, limit: limit)
    assert "200 training images are fewer than one batch of 512 of geoclip" in line
    assert "for example batch_size=128." in line
    assert not list(_too_few(plan, lambda data, limit: 512))


# Several processes


def test_workers_run_the_same_evaluations_as_one_process(toml, own_home, monkeypatch, tmp_path):
    plan = make_plan(get_experiment(str(toml(FLOOR))), Changes(test_limit=30))
    alone = run_plan(plan, folder=Path("alone"))
    monkeypatch.setenv("GEOBENCH_HOME", str(tmp_path / "other"))
    parallel = run_plan(plan, workers=2, folder=Path("parallel"))
    assert [(r.evaluation, r.spec) for r in alone.records] == [(r.evaluation, r.spec) for r in parallel.records]
    for record in alone.records:
        one, other = (json.loads((Path(folder) / record.result).read_text()) for folder in ("alone", "parallel"))
        assert one["scores"] == other["scores"]


def test_a_process_that_dies_costs_only_its_task(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1])  # where worker processes import this module from
    said = []
    progress = ForwardedMessages(said.append)
    results = dict(run_in_processes(_kill_at_two, [1, 2, 3, 4], processes=2, threads=1, progress=progress))
    crashed = results.pop(2)
    assert results == {1: 1, 3: 9, 4: 16}
    assert isinstance(crashed, CrashedTask) and "SIGKILL" in crashed.reason
    assert sorted(said) == ["at 1", "at 3", "at 4"]


def _kill_at_two(task, progress):
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    progress.say(f"at {task}")
    return task * task


def test_each_worker_has_a_gpu_of_its_own_and_its_successor_takes_it(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    tasks = [0.2, 0.2, -1, 0.2]
    results = list(run_in_processes(_visible, tasks, processes=2, threads=1, progress=SILENT, gpus=["4", "7"]))
    seen = [gpu for _, gpu in results if not isinstance(gpu, CrashedTask)]
    assert len(results) == 4 and set(seen) == {"4", "7"}
    (crashed,) = [gpu for _, gpu in results if isinstance(gpu, CrashedTask)]
    assert crashed.died


def _visible(task, progress):
    if task < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(task)
    return os.environ["CUDA_VISIBLE_DEVICES"]


def test_an_error_of_a_task_is_one_line_and_its_process_goes_on(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    results = dict(run_in_processes(_fails_at_two, [1, 2, 3], processes=1, threads=1, progress=SILENT))
    assert results[2] == CrashedTask("two lines, one error")
    assert results[1] == results[3], "the same process"


def _fails_at_two(task, progress):
    if task == 2:
        raise ExperimentError("two lines,\none error")
    return os.getpid()


def test_torchrun_is_refused(cli, toml, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    output = cli("experiment", "run", toml(FLOOR), exit_code=2).output
    assert "torchrun starts one training in several processes" in output and "--workers" in output


# Bad input


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "sigma_list = [16]",
            "sigma_lits = [16]",
            "row '+EEP +RFF': unknown setting of geoclip 'sigma_lits'; did you mean sigma_list",
        ),
        (
            "sigma_list = [16]",
            "sigma_list = 16",
            "row '+EEP +RFF': geoclip: sigma_list must be a list of numbers above 0, not 16.",
        ),
        ('model = "geoclip"', 'model = "geoklip"', "unknown model 'geoklip'; did you mean geoclip?"),
        ('data = "bluemarble"', 'data = "blumarble"', "data: unknown data set 'blumarble'; did you mean bluemarble?"),
        ('["bluemarble"]', '["blumarble"]', "datasets: unknown data set 'blumarble'; did you mean bluemarble?"),
        ('encoder = "tiny"', 'encoder = "tyni"', "unknown encoder 'tyni'; did you mean tiny?"),
        ("seeds = [0, 1]", "seed = [0, 1]", "unknown key 'seed'; did you mean seeds?"),
        ("seeds = [0, 1]", "seeds = 0", "seeds must be a non-empty list of integers of at least 0, not 0."),
        ("seeds = [0, 1]", "seeds = []", "seeds must be a non-empty list of integers of at least 0, not []."),
        ("dim = [8, 16]", "dim = []", "rows[2].vary.dim must be a non-empty list, not []."),
        ("dim = [8, 16]", "dim = [8, 'x']", "geoclip: dim must be an integer of at least 1, not 'x'."),
        ("[[rows]]", "[[rows]", "mine.toml is not an experiment: "),
        ("[[rows]]", "[[rwos]]", "unknown key 'rwos'; did you mean rows"),
        ('title = "Two switches"', "", "the key title is missing."),
        ("limit = 96", 'columns = ["acc_1mk"]', "columns: unknown metric 'acc_1mk'; did you mean acc_1km"),
        ("limit = 96", 'gallery = "lnad:5k"', "unknown gallery 'lnad:5k'; did you mean land?"),
        ("limit = 96", "limit = 0", "limit must be an integer of at least 1, not 0."),
        ("limit = 96", "fraction = 1.5", "fraction must be a number above 0 and at most 1, not 1.5."),
        ("limit = 96", "sigma_list = [16]", "views. Hyper-parameters of a model go under settings."),
        ('published = ""', "sigma_min = 1", "rows[2]: unknown key 'sigma_min'; available: "),
        ("dim = [8, 16]", "crops = [1, 'x']", "rows[2].vary: crops must be an integer of at least 1, not 'x'."),
        ('published = ""', "run = 'no'", "rows[2].run must be true or false, not 'no'."),
        ("limit = 96", "on.blumarble = {}", "on: unknown data set 'blumarble'; did you mean bluemarble?"),
        ("limit = 96", "on.bluemarble = { seds = [1] }", "on.bluemarble: unknown key 'seds'; did you mean seeds"),
        (
            'published = ""',
            "on.bluemarble = { vary = { dim = [8] } }",
            "rows[2].on.bluemarble.vary.dim has 1 values and vary.dim 2; each replaces one.",
        ),
        ('"+EEP +RFF"', '"{nothing}"', "the title '{nothing}' cannot be filled (KeyError: 'nothing')"),
    ],
)
def test_an_invalid_definition_is_one_line_with_file_key_and_the_nearest_names(cli, toml, old, new, said):
    output = cli("experiment", "run", toml(SMALL, (old, new)), exit_code=2).output
    assert said in output and "mine.toml" in output
    assert len(output.strip().splitlines()) == 1


def test_an_empty_grid_is_refused(cli, toml):
    path = toml(SMALL.partition("[[rows]]")[0] + "rows = []\n")
    assert "rows must be a non-empty list of tables, not []." in cli("experiment", "run", path, exit_code=2).output


def test_a_grid_of_ten_thousand_evaluations_must_be_confirmed(cli, toml, monkeypatch):
    ten = list(range(1, 11))
    vary = f"vary = {{ dim = {ten}, epochs = {ten}, hidden_layers = {ten}, hierarchies = {ten} }}"
    path = toml(SMALL, ("vary = { sigma_min = [1.0, 2.0], dim = [8, 16] }", vary), ("{sigma_min}", "x"))
    output = cli("experiment", "run", path, "--seeds", 0, exit_code=2).output
    assert "asks for 10,001 evaluations; more than 1,000 must be confirmed with --yes." in output
    monkeypatch.setattr("geobench.experiments.planning.MANY", 9)  # expanding ten thousand takes a while
    assert "asks for 10 evaluations" in cli("experiment", "show", toml(), exit_code=2).output
    assert "10 trainings, 10 evaluations." in cli("experiment", "show", toml(), "--yes").output
    with pytest.raises(TooManyEvaluationsError, match=r"asks for 10 evaluations; .* confirmed with many=True\."):
        make_plan(get_experiment(str(toml())))
    assert make_plan(get_experiment(str(toml())), many=True).evaluations == 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tabel-2a",), "unknown experiment 'tabel-2a'; did you mean table-2a"),
        (("nothing.toml",), "nothing.toml: there is no such file."),
        (("table-2a", "--data", "blumarble"), "Error: unknown data set 'blumarble'; did you mean bluemarble?"),
        (("table-2a", "--set", "quue_length=1"), "unknown setting of geoclip 'quue_length'; did you mean queue_length"),
        (("table-2a", "--format", "latx"), "unknown format 'latx'; did you mean latex"),
        (("table-2a", "--seeds", "a"), "'a' is not a list of whole numbers"),
    ],
)
def test_a_wrong_option_is_one_line(cli, arguments, said):
    output = cli("experiment", "run", *arguments, exit_code=2).output
    assert said in output and "Traceback" not in output


def test_an_invalid_gallery_is_refused_before_anything_runs(cli):
    arguments = ("experiment", "run", "table-2a", "--data", "bluemarble", "--galleries", "5x")
    assert "'5x' is not a valid gallery size" in cli(*arguments, exit_code=1).output
    assert get_checkpoints() == []


def test_a_set_with_one_split_is_not_trained_and_tested_on_at_once(cli, photos):
    images, metadata = photos(8)
    cli("datasets", "add", "own", "--images", images, "--metadata", metadata)
    with pytest.raises(ExperimentError, match="own has a single split, which would be both trained and tested on"):
        make_plan(get_experiment("table-2a"), Changes(data="own"))
    assert get_dataset("own")  # with another test set it may be trained on
    assert make_plan(get_experiment("table-2a"), Changes(data="own", datasets=["bluemarble"])).evaluations == 12


def test_no_record_says_which_command_makes_one_and_a_damaged_one_is_named(cli):
    output = cli("experiment", "report", "table-2a", exit_code=1).output
    assert "no run of table-2a in results; make one: geobench experiment run table-2a" in output
    folder = Path("results/experiments")
    folder.mkdir(parents=True)
    (folder / "table-2a-x.json").write_text('{"schema": 1, "lines"')
    assert (
        "table-2a-x.json is not a record of an experiment"
        in cli("experiment", "report", "table-2a", exit_code=1).output
    )


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*.json")), ids=lambda path: path.stem)
def test_a_committed_record_is_still_read(cli, path):
    record = json.loads(cli("experiment", "report", path, "--format", "json").stdout)
    assert record == json.loads(path.read_text())
    assert {"title", "row", "seed", "dataset", "gallery", "crops", "spec", "result"} <= set(record["cells"][0])
    assert record["title"] in cli("experiment", "report", path).stdout


def test_messages_that_training_runs_have_in_common_are_shown_once():
    class Noting(Progress):
        def __init__(self):
            self.lines = []

        def say(self, message):
            self.lines.append(message)

    shown = Noting()
    once = WithoutRepeats(shown)
    for progress in (BarsOnly(once), TrainingMessages(once), TrainingMessages(once)):
        for message in ("knn@a is already trained.", "loading the encoder tiny."):
            progress.say(message)
    assert shown.lines == ["loading the encoder tiny."]


def test_a_record_is_shown_in_every_format(cli, toml):
    cli("experiment", "run", toml(FLOOR), "--test-limit", 30)
    shown = {
        name: cli("experiment", "report", "mine", "--format", name).stdout
        for name in ("table", "markdown", "latex", "latex-fragment", "csv", "json")
    }
    assert shown["latex"].startswith(r"\documentclass") and shown["latex-fragment"] in shown["latex"]
    assert r"random, gallery 20 & ours, 2 seeds & bluemarble & training:20" in shown["latex-fragment"]
    assert len(shown["csv"].strip().splitlines()) == 1 + 3
    assert json.loads(shown["json"])["experiment"] == "mine"
    cli("experiment", "report", "mine", "--output", "t.txt")
    assert Path("t.txt").read_text() == shown["table"]
