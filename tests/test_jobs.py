"""What geobench knows of jobs of a cluster, without one: commands of Slurm are scripts that print what it printed."""

import json
import os
import pickle
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from geobench.errors import GeobenchError, SettingError, UnknownNameError
from geobench.jobs import CrashedTask
from geobench.jobs.job import Job
from geobench.jobs.launches import JobRecord, Launch, State, cancel, find_job, launches, queued, states
from geobench.jobs.profile import Profile, read_profile
from geobench.jobs.slurm import Named, _parameters, run_on_slurm
from geobench.progress import SILENT
from geobench.source import code_key


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Return a function that makes a command of Slurm print lines, or fail."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def prints(command, *lines, code=0, error=""):
        script = folder / command
        text = "".join(f"{line}\n" for line in lines)
        noted = f'env > {folder}/{command}.env\necho {command} "$@" >> {folder}/asked\n'
        script.write_text(f"#!/bin/sh\n{noted}cat <<'END'\n{text}END\necho '{error}' >&2\nexit {code}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return folder

    return prints


@pytest.fixture
def launch():
    """Return a launch of three jobs; the second has a result."""
    made = Launch.new("train geoclip", "p")
    made.add([JobRecord(f"12_{number}", f"task-{number}", f"seed {number}") for number in range(3)])
    made.result(made.jobs[1]).write_bytes(pickle.dumps(("success", "geoclip@x")))
    return made


def test_a_launch_is_read_back_also_from_a_record_of_a_later_version(launch):
    path = launch.folder / "launch.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"later": 1}))
    (found,) = launches()
    assert found == launch
    (launch.folder.parent / "damaged").mkdir()
    (launch.folder.parent / "damaged/launch.json").write_text("{")
    assert launches() == [launch]


def test_the_queue_is_read_whatever_comments_and_settings_a_user_has(slurm, monkeypatch):
    monkeypatch.setenv("SQUEUE_STATES", "PD")
    folder = slurm("squeue", "12_0|RUNNING|n1|1:02|None|a|b", "7|PENDING||0:00|Priority|launch-1", "x")
    waits = State("PENDING", "", "0:00", "Priority")
    assert queued() == {("a|b", "12_0"): State("RUNNING", "n1", "1:02"), ("launch-1", "7"): waits}
    assert "SQUEUE_STATES" not in (folder / "squeue.env").read_text()


def test_states_are_those_of_results_then_of_the_queue_then_of_the_accounting(slurm, launch):
    slurm("squeue", f"12_0|RUNNING|n1|1:02|None|{launch.name}", "12_2|RUNNING|n2|1:02|None|another launch")
    slurm("sacct", "12_1|COMPLETED|n2|00:00:09|0:0|", "12_2|OUT_OF_MEMORY|n3|00:01:00|0:125|")
    words = [state.words for state in states(launch).values()]
    assert words == ["running", "done", "out of memory (exit code 0:125)"]
    slurm("sacct", code=1, error="Slurm accounting storage is disabled")
    assert [state.words for state in states(launch).values()] == ["running", "done", "gone (without a result)"]


@pytest.mark.parametrize("content", [b"", b"\x80\x04junk", pickle.dumps(("success",))])
def test_a_damaged_result_is_a_failure_with_a_reason(slurm, launch, content):
    launch.result(launch.jobs[1]).write_bytes(content)
    slurm("squeue"), slurm("sacct")
    state = states(launch)[launch.jobs[1]]
    assert state.word == "FAILED" and state.reason.startswith("its result cannot be read (")


def test_a_job_that_crashed_is_a_failure(slurm, launch):
    launch.result(launch.jobs[1]).write_bytes(pickle.dumps(("success", CrashedTask("no disk"))))
    slurm("squeue"), slurm("sacct")
    assert states(launch)[launch.jobs[1]].words == "failed (no disk)"


def test_cancelling_leaves_a_mark_for_the_launcher(slurm, launch):
    slurm("squeue", f"12_0|RUNNING|n1|1:02|None|{launch.name}")
    folder = slurm("scancel")
    assert cancel(launch.name) == ["12_0"]
    assert launch.was_cancelled(launch.jobs[0]) and not launch.was_cancelled(launch.jobs[2])
    assert "scancel 12_0\n" in (folder / "asked").read_text()
    assert find_job("12_2") == (launch, launch.jobs[2])
    with pytest.raises(UnknownNameError, match="unknown job '99'"):
        cancel("99")


def test_where_there_is_no_slurm_it_is_one_line(cli, monkeypatch, launch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(GeobenchError, match="there is no Slurm here: squeue is not on the PATH"):
        queued()
    assert cli("jobs", exit_code=1).output.startswith("Error: there is no Slurm here")


def test_a_busy_slurm_is_asked_again_and_given_up_with_a_word(slurm, monkeypatch):
    monkeypatch.setattr("geobench.jobs.slurm.SILENCE_S", 0.3)
    monkeypatch.setattr("geobench.jobs.slurm.POLLS_S", (0.1, 0.1))
    task = Named(1, "key", "one")
    made = Launch.new("train", "p")
    made.add([JobRecord("5", "key", "one")])
    slurm("squeue", f"5|RUNNING|n1|0:01|None|{made.name}")
    said = []
    progress = type("Said", (type(SILENT),), {"say": lambda self, line: said.append(line)})()
    running = run_on_slurm(print, [task], read_profile("slurm"), "train", progress)

    def fails(*arguments):
        slurm("squeue", code=1, error="Socket timed out")
        return []

    monkeypatch.setattr("geobench.jobs.slurm._Watch._tell", fails)
    with pytest.raises(GeobenchError, match="squeue failed: Socket timed out"):
        list(running)
    assert sum("Asking again" in line for line in said) == 1
    assert any("1 jobs go on" in line for line in said)


def test_under_torchrun_nothing_is_submitted(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingError, match="torchrun would submit the jobs once for each"):
        list(run_on_slurm(print, [Named(1, "key", "one")], read_profile("slurm"), "train", SILENT))


# Profiles


def test_a_profile_is_found_by_name_and_by_file(own_home, tmp_path):
    (own_home / "clusters").mkdir(parents=True)
    text = 'partition = "gpu"\ngpus_per_node = 8\nnodes = 2\nmem_gb = 0.5\nsetup = ["a", "b"]\n'
    (own_home / "clusters/gpu.toml").write_text(text)
    gpu = read_profile("gpu")
    assert gpu.processes == 16 and gpu.warning_s == 90
    asked = _parameters(gpu)
    assert (asked["partition"], asked["ntasks_per_node"], asked["mem"]) == ("gpu", 8, "512MB")
    assert asked["setup"] == ["set -e", "a", "b"] and "account" not in asked
    with pytest.raises(SettingError, match="an experiment uses one process a job, and this profile has 16"):
        gpu.check_single("an experiment")
    with pytest.raises(UnknownNameError, match="unknown cluster profile 'gpuu'; did you mean gpu"):
        read_profile("gpuu")
    with pytest.raises(SettingError, match="there is no such profile"):
        read_profile(str(tmp_path / "none.toml"))


def test_without_a_file_nothing_is_asked_for_but_time():
    profile = read_profile("slurm")
    assert isinstance(profile, Profile) and profile.processes == 1
    assert {name for name, value in _parameters(profile).items() if value} == {
        "time", "nodes", "ntasks_per_node", "signal_delay_s", "array_parallelism", "stderr_to_stdout", "srun_args",
        "additional_parameters",
    }  # fmt: skip


# A job, here in this process


def _divide(task, progress):
    if task == 0:
        raise SettingError("zero")
    progress.say("divided")
    return 12 / task


def test_a_job_returns_the_result_of_its_task_or_its_error(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    job = Job(_divide, grace_s=5)
    assert job(3) == 4
    assert job(0) == CrashedTask("zero")  # at once: the process that performed it has not ended by itself


def test_a_job_that_is_told_to_save_before_it_has_begun_is_run_again():
    pytest.importorskip("submitit")
    delayed = Job(_divide, grace_s=5).checkpoint(3)
    assert delayed.args == (3,)


def test_edited_code_has_another_key(monkeypatch, tmp_path):
    code = tmp_path / "__init__.py"
    code.write_text("a = 1\n")
    monkeypatch.setattr("geobench.source.find_spec", lambda name: SimpleNamespace(origin=str(code)))
    before = code_key()
    assert before == code_key()
    (tmp_path / "set.toml").write_text("a = 1\n")
    assert code_key() != before
