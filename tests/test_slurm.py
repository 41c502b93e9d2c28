"""Jobs on a real Slurm of two nodes; skipped where it is not installed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm_cluster import Cluster, why_not

from geobench.jobs.launches import launches
from geobench.training.log import LOGS

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "here")
GRID = """
title = "Six trainings"
source = "GeoCLIP (NeurIPS 2023), table 2a"
model = "geoclip"
data = "bluemarble"
datasets = ["bluemarble"]
limit = 128
seeds = [0]
settings = { batch_size = 32, queue_length = 0, hidden_dim = 16, dim = 16, head_dim = 16, epochs = 60 }
[[rows]]
title = "sigma {sigma_min}"
published = ""
vary = { sigma_min = [1.0, 2.0, 3.0, 4.0, 5.0] }
[[rows]]
title = "long"
published = ""
settings = { epochs = EPOCHS }
"""
MINUTES = "minutes = 1\ncpus_per_task = 1\nmem_gb = 2\n"
SMALL = ["--limit", "96", "--set", "batch_size=32", "--set", "queue_length=64", "--set", "hidden_dim=16"]


@pytest.fixture(scope="module")
def whole_cluster(tmp_path_factory):
    """Return a cluster that is up."""
    made = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def cluster(whole_cluster):
    """Return the cluster; no job is in its queue before and after the test."""
    yield whole_cluster
    whole_cluster.run("scancel", "--user=root", check=False)
    until(lambda: not whole_cluster.run("squeue", "--noheader").strip())


@pytest.fixture
def profile(tmp_path):
    """Return a function that writes a profile."""

    def write(text=MINUTES, name="profile"):
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        return path

    return write


def geobench(cluster, *arguments, home=None, check=True):
    """Run a command on the login node of ``cluster``, and return it when it has ended."""
    done = start(cluster, *arguments, home=home)
    out, errors = done.communicate(timeout=500)
    assert not check or done.returncode == 0, errors[-3000:]
    return done.returncode, out, errors


def start(cluster, *arguments, home=None):
    """Start a command on the login node of ``cluster``."""
    environment = os.environ | cluster.variables | {"OMP_NUM_THREADS": "1"}
    environment |= {"GEOBENCH_HOME": str(home)} if home else {}
    command = [sys.executable, "-m", "geobench", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(condition, seconds=240):
    """Wait for ``condition`` and return what it returns."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.2)
    return found


def trainings(home):
    """Return, of each checkpoint, the weights and the loss of every step, in the order in which they were logged."""
    found = {}
    for path in sorted((home / "checkpoints").glob("*/[!.]*/checkpoint.json")):
        logs = [path.parent / name for name in LOGS if (path.parent / name).exists()]
        lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
        weights = json.loads(path.read_text())["weights"]
        found[path.parent.name] = weights, [(line["step"], line["loss"]) for line in lines if "loss" in line]
    return found


def table(folder):
    """Return the lines of the only record of an experiment in ``folder``."""
    (path,) = (folder / "experiments").glob("[!.]*.json")
    return json.loads(path.read_text())["lines"]


def test_a_grid_that_loses_a_job_a_node_and_its_time_has_the_table_of_one_machine(cluster, own_home, profile, tmp_path):
    grid = tmp_path / "grid.toml"
    grid.write_text(GRID.replace("EPOCHS", "2500"))
    run = ["experiment", "run", grid, "--test-limit", 50]
    alone = tmp_path / "alone"
    geobench(cluster, *run, "--results", tmp_path / "expected", home=alone)

    launcher = start(cluster, *run, "--on", profile())
    one = until(lambda: [job for job in cluster.running() if "_" in job])[0]
    until(lambda: "geoclip" in "".join(path.read_text() for path in own_home.glob(f"jobs/*/{one}_0_log.out")))
    cluster.kill(one)
    cluster.run("scontrol", "update", "nodename=n2", "state=drain", "reason=test")
    _, errors = launcher.communicate(timeout=500)
    cluster.run("scontrol", "update", "nodename=n2", "state=resume")
    assert launcher.returncode == 0, errors[-3000:]
    assert "submitted again" in errors and "ended without a result: failed" in errors

    logs = "".join(path.read_text() for path in own_home.glob("jobs/*/*_0_log.out"))
    assert re.search(r"Caught signal SIGUSR2 .* this job is timed-out", logs)
    assert "resuming from step" in logs
    assert logs.count("saved geoclip@bluemarble-s0-") == 6  # each was finished once
    assert trainings(own_home) == trainings(alone)
    assert table(Path("results")) == table(tmp_path / "expected")


def test_two_nodes_train_one_model_with_the_weights_of_torchrun(cluster, own_home, profile, tmp_path):
    train = ["train", "geoclip", *SMALL, "--set", "epochs=2"]
    _, out, _ = geobench(cluster, *train, "--on", profile(MINUTES.replace("1", "10", 1) + "nodes = 2\n"))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "geobench"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GEOBENCH_HOME": str(tmp_path / "torchrun")}
    subprocess.run([*torchrun, *train], env=environment, check=True, capture_output=True, timeout=200)
    assert trainings(own_home) == trainings(tmp_path / "torchrun")
    assert list(trainings(own_home)) == [out.strip().removeprefix("geoclip@")]
    assert "n[1-2]" in cluster.run("sacct", "--noheader", "--allocations", "--format=NodeList%20")


def test_two_nodes_that_are_stopped_go_on_together(cluster, own_home, profile, tmp_path):
    train = ["train", "geoclip", *SMALL, "--set", "epochs=250"]
    launcher = start(cluster, *train, "--on", profile(MINUTES.replace("1", "10", 1) + "nodes = 2\n"))
    (job,) = until(lambda: list(cluster.running()))
    until(lambda: "of 750 steps" in "".join(path.read_text() for path in own_home.glob("jobs/*/*_0_log.out")))
    cluster.run("scancel", "--signal=USR2", job)
    _, errors = launcher.communicate(timeout=300)
    assert launcher.returncode == 0, errors[-3000:]
    (log,) = own_home.glob("jobs/*/*_0_log.out")
    assert "resuming from step" in log.read_text()
    ((_, steps),) = trainings(own_home).values()
    assert [step for step, _ in steps] == sorted({step for step, _ in steps})


def test_a_training_that_a_more_urgent_job_displaces_goes_on_afterwards(cluster, own_home, profile):
    # Slurm preempts with SIGTERM, which submitit passes over: the process of the task saves by itself.
    text = MINUTES.replace("1", "10", 1) + 'partition = "main"\n'
    launcher = start(cluster, "train", "geoclip", *SMALL, "--set", "epochs=1500", "--on", profile(text))
    until(lambda: "of 4,500 steps" in "".join(path.read_text() for path in own_home.glob("jobs/*/*_0_log.out")))
    cluster.run("sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 3")
    _, errors = launcher.communicate(timeout=300)
    assert launcher.returncode == 0, errors[-3000:]
    assert "submitted again" not in errors
    (log,) = own_home.glob("jobs/*/*_0_log.out")
    assert "stopped, and saved; waiting for Slurm" in log.read_text() and "resuming from step" in log.read_text()
    ((_, steps),) = trainings(own_home).values()
    assert [step for step, _ in steps] == sorted({step for step, _ in steps})


def test_a_launcher_that_is_stopped_leaves_its_jobs_and_waits_for_them_again(cluster, own_home, profile):
    train = ["train", "geoclip", *SMALL, "--set", "epochs=400", "--on", profile(MINUTES.replace("1", "10", 1))]
    launcher = start(cluster, *train)
    until(cluster.running)
    launcher.send_signal(signal.SIGINT)
    _, errors = launcher.communicate(timeout=60)
    assert launcher.returncode == 130, errors
    assert "1 jobs go on; the same command waits for them again" in errors and "geobench jobs cancel" in errors
    _, out, errors = geobench(cluster, *train)
    assert "jobs of an earlier command are under way" in errors and "submitted" not in errors
    assert out.startswith("geoclip@bluemarble-s0-")
    assert len(launches()) == 1


def test_jobs_are_listed_followed_and_cancelled(cluster, own_home, profile):
    assert "No job was submitted" in geobench(cluster, "jobs")[1]
    launcher = start(cluster, "train", "geoclip", *SMALL, "--set", "epochs=100000", "--on", profile())
    (job,) = until(cluster.running)
    until(lambda: "loading the encoder" in geobench(cluster, "jobs", "log", job)[1])
    _, listed, _ = geobench(cluster, "jobs")
    assert re.search(rf"train geoclip +{job} +geoclip +running +n[12] ", listed)
    (launch,) = launches()
    _, said, _ = geobench(cluster, "jobs", "cancel", launch.name)
    assert said == f"cancelled {job}.\n"
    _, errors = launcher.communicate(timeout=60)
    assert launcher.returncode == 1
    (line,) = [line for line in errors.splitlines() if line.startswith("Error: ")]
    assert f"its job {job} ended without a result: cancelled on n" in line and "submitted again" not in errors
    assert "cancelled" in geobench(cluster, "jobs")[1]
    assert geobench(cluster, "jobs", "cancel", job)[1] == f"{job}: none of its jobs waits or runs.\n"
    code, _, errors = geobench(cluster, "jobs", "log", "9_9", check=False)
    assert code and errors.count("\n") == 1 and "unknown job '9_9'" in errors


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('partition = "none"\n', "Slurm refuses the job: sbatch: error: "),
        ("nodes = 0\n", "nodes must be an integer of at least 1, not 0."),
        ("gpus = 1\n", "unknown key 'gpus'; available: account, "),
        ("minutes = [1]\n", "minutes must be an integer of at least 1, not [1]."),
        ("minutes: 3\n", "is not a readable profile: "),
    ],
)
def test_what_a_cluster_cannot_give_is_one_line(cluster, profile, text, said):
    code, _, errors = geobench(cluster, "train", "random", "--limit", 5, "--on", profile(text), check=False)
    assert code and errors.splitlines()[-1].startswith("Error: ") and said in errors.splitlines()[-1]
    assert "Traceback" not in errors


def test_an_error_of_a_task_is_that_of_its_command(cluster, profile):
    train = ["train", "geoclip", *SMALL, "--set", "batch_size=128", "--set", "queue_length=128", "--on", profile()]
    code, _, errors = geobench(cluster, *train, check=False)
    assert code == 1 and "96 training images are fewer than one batch of 128" in errors.splitlines()[-1]
    assert "submitted again" not in errors  # it would fail again


def test_shards_in_jobs_are_merged_into_what_one_process_makes(cluster, own_home, profile, tmp_path):
    alone = tmp_path / "alone"
    model = geobench(cluster, "train", "knn", "--limit", 200)[1].strip()
    shutil.copytree(own_home, alone)
    run = ["run", "--models", model, "--datasets", "bluemarble", "--limit", 203]
    _, shown, errors = geobench(cluster, *run, "--shards", 3, "--on", profile())
    assert errors.count("is done.") == 3 and "merged 3 shards, 203 images" in errors
    _, expected, _ = geobench(cluster, *run, "--results", "alone", home=alone)
    assert shown == expected
    _, again, errors = geobench(cluster, *run, "--shards", 3, "--on", profile())
    assert again == expected and "merged 3" not in errors  # the whole is there, and shown
    (ours,), (theirs,) = Path("results").glob("*.csv"), Path("alone").glob("*.csv")
    assert ours.read_bytes() == theirs.read_bytes()
    features = ["features", "bluemarble", "--limit", 1100]
    _, out, _ = geobench(cluster, *features, "--shards", 3, "--on", profile())
    geobench(cluster, *features, home=alone)
    for name in ("features.npy", "ok.npy", "digests.npy"):
        made, other = Path(out.strip()) / name, alone / "features" / Path(out.strip()).name / name
        assert made.read_bytes() == other.read_bytes()


def test_a_shard_that_fails_is_reported_and_nothing_is_merged(cluster, profile):
    run = ["run", "--models", "knn", "--datasets", "bluemarble", "--limit", 20, "--shards", 2, "--on", profile()]
    code, _, errors = geobench(cluster, *run, check=False)
    assert code == 1 and "geobench train knn" in errors and "merged" not in errors and "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["features", "bluemarble", "--shards", 3], "--shards 3 are jobs of a cluster: add --on slurm"),
        (["features", "bluemarble", "--on", "slurm", "--shard", "1/2"], "give --shards N instead of --shard"),
        (
            ["run", "--models", "knn", "--datasets", "bluemarble", "--on", "slurm", "--subset", "clean"],
            "does not go with --subset",
        ),
    ],
)
def test_options_that_do_not_go_together_are_one_line(cluster, arguments, said):
    code, _, errors = geobench(cluster, *arguments, check=False)
    assert code == 2 and errors.count("\n") == 1 and said in errors
