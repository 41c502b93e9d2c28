"""What the command line tells of itself: groups of commands, completion, ``--quiet``, exit codes after a signal."""

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import click
import pytest

import geobench
from geobench.cli import main
from geobench.cli.group import GROUPS
from geobench.progress import ConsoleProgress, pace

COLUMNS = 80


def test_every_command_is_in_one_group_of_the_help():
    listed = [name for lines in GROUPS.values() for name in lines]
    assert sorted(listed) == sorted(main.commands)


def commands(group, path=()):
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands(main))


@pytest.mark.parametrize("path", [(), *(path for path, command in ALL.items() if isinstance(command, click.Group))])
def test_no_help_of_a_command_is_cut_off(path, cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    text = cli(*path, "--help").output
    assert "..." not in text.partition("\n\nOptions")[2]
    if not path:
        listed = text.partition("\nData:")[2].splitlines()
        assert len(listed) == len(ALL and main.commands) + 2 * len(GROUPS) - 1  # each command fits into a line
        assert max(map(len, listed)) <= COLUMNS


@pytest.mark.parametrize("path", [path for path, command in ALL.items() if not isinstance(command, click.Group)])
def test_every_command_can_be_quiet(path, cli):
    assert "--quiet" in cli(*path, "--help").output


def test_quiet_leaves_out_progress_and_nothing_else(cli, photos, tiny_encoder, monkeypatch):
    monkeypatch.setattr("geobench.progress.LOG_EVERY_S", 0.0)
    images, metadata = photos(12)
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata, "--encoder", "tiny")
    train = ("train", "knn", "--data", "mine", "--set", "k=1", "--force")
    loud, quiet = cli(*train), cli(*train, "--quiet")
    assert " of 12 images" in loud.stderr and " of 12 images" not in quiet.stderr
    assert quiet.stdout == loud.stdout
    assert "saved knn@mine" in quiet.stderr
    cli(*train)
    assert not ConsoleProgress.quiet


def test_a_step_of_more_than_a_second_is_told_in_seconds():
    assert [pace(rate, "steps") for rate in (250.0, 1.0, 0.25)] == ["250/s", "1/s", "4.0 s/step"]


@pytest.mark.parametrize(("typed", "offered"), [("geobench tr", "train"), ("geobench datasets sp", "split")])
def test_a_shell_completes_commands(typed, offered):
    words = typed.split()
    environment = os.environ | {
        "_GEOBENCH_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)
    }  # fmt: skip
    code = "import sys; sys.argv[0] = 'geobench'; from geobench.cli import main; main(prog_name='geobench')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"plain,{offered}"]


def test_no_table_shows_the_marks_of_code(cli):
    for command in ("encoders", "models", "plugins"):
        assert "``" not in cli(command).output


def test_the_version_is_the_installed_one(cli):
    assert geobench.__version__ == version("geobench-geolocalization")
    assert cli("--version").output.split()[-1] == geobench.__version__


SLOW = """
import time
import geobench
from geobench.cli import main
from geobench.data.dataset import Dataset

def stopped(*arguments, **options):
    print("ready", flush=True)
    time.sleep(60)

Dataset.prepare = geobench.get_dataset = stopped
main({arguments})
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "geoclip"],
        ["run", "--models", "random", "--datasets", "bluemarble"],
        ["features", "bluemarble"],
        ["experiment", "run", "table-2a", "--data", "bluemarble"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_signal_ends_every_command_with_its_code_and_one_line(arguments, number, code, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW.format(arguments=arguments)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert [line for line in said.splitlines() if "Stopped." in line] == said.splitlines()[-1:]
    assert "Traceback" not in said
