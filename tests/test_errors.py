import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import geobench
from geobench import GeobenchError, PluginError, UnknownNameError, get_dataset, get_encoder, get_gallery, unknown_name
from geobench.cli.group import Commands, resumable
from geobench.errors import as_plugin_error
from geobench.plugins import get_model_class

ERRORS = [thing for name in geobench.__all__ if name.endswith("Error") and (thing := getattr(geobench, name))]


def test_every_error_is_a_geobench_error_and_public():
    assert len(ERRORS) == 18
    assert all(issubclass(error, GeobenchError) and error.__doc__ for error in ERRORS)
    defined = {value for value in vars(geobench.errors).values() if isinstance(value, type)}
    assert {error for error in defined if issubclass(error, Exception)} == set(ERRORS)


def test_wrong_usage_ends_with_2_and_everything_else_with_1():
    wrong_usage = {error.__name__ for error in ERRORS if error.exit_code == 2}
    assert wrong_usage == {"UnknownNameError", "SettingError", "ExperimentError"}
    assert {error.exit_code for error in ERRORS} == {1, 2}


@pytest.mark.parametrize(
    ("get", "name", "near"),
    [
        (get_model_class, "geoclp", "geoclip"),
        (get_model_class, "KNN", "knn"),
        (get_dataset, "bluemable", "bluemarble"),
        (get_dataset, "im2gps-3k", "im2gps3k"),
        (get_encoder, "efficientnet-lite0", "efficientnet_lite0"),
        (lambda name: get_gallery(f"{name}:5k"), "spere", "sphere"),
    ],
)
def test_an_unknown_name_gives_the_nearest_ones(get, name, near):
    with pytest.raises(UnknownNameError, match=rf"unknown [\w ]+ '{name}.*; did you mean .*{near}") as caught:
        get(name)
    assert "\n" not in str(caught.value)


def test_a_name_that_resembles_none_gives_all_of_them():
    error = unknown_name("colour", "qqq", ["red", "green"], "See the list.")
    assert str(error) == "unknown colour 'qqq'; available: green, red. See the list."
    assert str(unknown_name("colour", "qqq", [])) == "unknown colour 'qqq'; available: none."


def test_the_nearest_name_comes_first_and_at_most_three_are_given():
    error = unknown_name("set", "im2gps", ["im2gps3k", "im2gps2", "im2gps4", "im2gps5", "mp16"])
    assert str(error).count(" or ") == 2
    assert "mp16" not in str(error)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["datasets", "show", "bluemable"], 2, "unknown data set 'bluemable'; did you mean bluemarble?"),
        (["train", "knn", "--set", "kk=3"], 2, "unknown setting of knn 'kk'; did you mean k?"),
        (["train", "knn", "--data", "im2gps3k"], 1, "im2gps3k is not on this machine"),
        (["report"], 1, "no results in results"),
    ],
)
def test_the_command_line_prints_one_line_and_no_traceback(cli, arguments, code, expected):
    told = cli(*arguments, exit_code=code)
    errors = [line for line in told.stderr.splitlines() if line.startswith("Error: ")]
    assert errors == told.stderr.splitlines()[-1:]
    assert expected in errors[0]
    assert "Traceback" not in told.output


def test_an_exception_of_third_party_code_becomes_one_line_that_names_the_plugin():
    with pytest.raises(PluginError) as caught, as_plugin_error("the model m (their-package 1.0)", "on mine"):
        raise ZeroDivisionError("by\nzero")
    assert str(caught.value) == "the model m (their-package 1.0) failed on mine: ZeroDivisionError: by"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("error", [GeobenchError("ours"), MemoryError(), KeyboardInterrupt()])
def test_our_own_errors_out_of_memory_and_interrupts_pass_unchanged(error):
    with pytest.raises(type(error)) as caught, as_plugin_error("the model m", "on mine"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("mark", "said"),
    [(resumable, "Stopped. The same command, given again, resumes from here."), (lambda command: command, "Stopped.")],
)
def test_only_a_command_that_keeps_what_is_done_says_that_it_goes_on(mark, said):
    @click.group(cls=Commands)
    def group():
        pass

    @group.command()
    @mark
    def work():
        raise KeyboardInterrupt

    result = CliRunner().invoke(group, ["work"])
    assert (result.exit_code, result.stderr.strip()) == (130, said)


def test_output_that_nobody_reads_any_more_ends_quietly():
    with subprocess.Popen(
        [sys.executable, "-c", "from geobench.cli import main; main(['datasets', 'list', '--json'])"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


FROM_C = """
import ctypes, signal
import geobench.cli.group as group

def interrupted(*arguments, **options):
    run = ctypes.pythonapi.PyRun_String
    run.restype, run.argtypes = ctypes.py_object, [ctypes.c_char_p, ctypes.c_int, ctypes.py_object, ctypes.py_object]
    run(b"import signal; signal.raise_signal(signal.SIGTERM)", 257, {"__builtins__": __builtins__}, {})

group.main.commands["models"].invoke = interrupted
group.main(["models"])
"""


def test_sigterm_while_a_library_runs_code_from_c_ends_with_143(tmp_path):
    (tmp_path / "terminated.py").write_text(FROM_C)
    command = [sys.executable, "-m", "terminated"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.split()) == (143, ["Stopped."])
