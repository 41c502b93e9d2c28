"""A full disk, one that can only be read, a home shared by two users: one line, and what was whole stays whole."""

import hashlib
import os
import resource
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from geobench import files
from geobench.cli import main
from geobench.disk import writing
from geobench.errors import SettingError, StorageError

SMALL = ["batch_size=4", "queue_length=8", "hidden_dim=16", "epochs=1", "fourier_rows=8"]
SETS = [word for text in SMALL for word in ("--set", text)]


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A disk of 24 MB, in memory, with the home and the working folder on it."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a disk of its own needs root")
    monkeypatch.setenv("GEOBENCH_HOME", str(place / "home"))
    (place / "work").mkdir()
    monkeypatch.chdir(place / "work")
    yield place
    monkeypatch.chdir(tmp_path)
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk, left):
    """Fill the disk but for ``left`` bytes."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    with (disk / "ballast").open("r+b") as file:
        file.truncate(file.seek(0, 2) - left)


def whole(folder):
    """Return the digests of all files that are not being written."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "ballast" and not path.name.endswith(".lock") and "index" not in path.parts
    }


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def prepared(photos, *commands):
    """Add photos called ``mine`` and run further commands."""
    images, metadata = photos(16)
    rows = (
        f"photo-{n}.jpg,{45.1234 + n * 0.10371:.5f},{2.5678 + n * 0.1137:.5f}\n" for n in range(16)
    )  # ashore, for the checks
    metadata.write_text("image,latitude,longitude\n" + "".join(rows))
    archive = shutil.make_archive(str(images.parent / "photos"), "zip", images)
    add = ("datasets", "add", "mine", "--images", archive, "--metadata", metadata, "--encoder", "tiny")
    for command in (add, *commands):
        done = call(*command)
        assert done.exit_code == 0, done.output
    return add


TRAIN_KNN = ("train", "knn", "--data", "mine", "--set", "k=3")
TRAIN = ("train", "geoclip", "--data", "mine", *SETS)
RUN = ("run", "--models", "geoclip", "--datasets", "mine", "--galleries", "land:4k")
FEATURES = ("features", "mine")
PLACES = "places.csv"
COMMANDS = {
    "add": ((), ("datasets", "add", "other", "--images", "{zip}", "--metadata", "{csv}", "--encoder", "tiny")),
    "check": ((), ("datasets", "check", "mine", "--output", "problems.csv")),
    "audit": ((), ("datasets", "audit", "mine", "--against", "mine")),
    "features": ((), FEATURES),
    "train, features": ((), TRAIN_KNN),
    "train, checkpoint": ((FEATURES,), TRAIN_KNN),
    "train geoclip": ((FEATURES,), TRAIN),
    "run": ((TRAIN,), RUN),
    "report": ((TRAIN, RUN), ("report", "--format", "html", "--output", "report.html")),
    "report, csv": ((TRAIN, RUN), ("report", "--format", "csv", "--output", "report.csv")),
    "predict": ((TRAIN,), ("predict", "{jpg}", "--model", "geoclip", "--gallery", "land:4k", "--map", "map.png")),
    "score": ((), ("score", "{answers}", "--dataset", "mine", "--name", "theirs")),
    "embed": ((TRAIN,), ("embed", "{places}", "--model", "geoclip", "--output", "embedded.npy")),
    "experiment": ((), ("experiment", "run", "{experiment}", "--results", "experiments", "--limit", "40")),
}
EXPERIMENT = """title = "knn"
source = "none"
model = "knn"
data = "bluemarble"
datasets = ["bluemarble"]
encoder = "tiny"
crops = 1
seeds = [0]
[[rows]]
title = "k"
settings = { k = 3 }
"""


def filled_in(command, photos_folder):
    """Return a command with the files that it names, which lie on another disk."""
    folder = photos_folder
    (folder / "answers.csv").write_text(
        "image,latitude,longitude\n" + "".join(f"photo-{n}.jpg,1,2\n" for n in range(16))
    )
    (folder / PLACES).write_text("latitude,longitude\n" + "".join(f"{n / 100},{n / 100}\n" for n in range(4000)))
    (folder / "small.toml").write_text(EXPERIMENT)
    names = {"zip": folder / "photos.zip", "csv": folder / "metadata.csv", "jpg": folder / "images" / "photo-0.jpg"}
    names |= {"answers": folder / "answers.csv", "places": folder / PLACES, "experiment": folder / "small.toml"}
    return [str(word).format_map({name: str(path) for name, path in names.items()}) for word in command]


def assert_one_line(done, folder):
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    said = [line for line in done.stderr.splitlines() if line.startswith(("Error", "Failed"))]
    assert len(said) == 1, done.output
    assert "Traceback" not in done.output
    assert str(folder) in said[0], said
    return said[0]


@pytest.mark.parametrize("left", [0, 12_288], ids=["nothing left", "12 KB left"])
@pytest.mark.parametrize("what", COMMANDS)
def test_a_full_disk_ends_in_one_line_and_loses_nothing(what, left, disk, photos, tmp_path):
    before, command = COMMANDS[what]
    prepared(photos, *before)
    command = filled_in(command, tmp_path / "photos")
    kept = whole(disk)
    fill(disk, left)
    done = call(*command)
    if done.exit_code:
        said = assert_one_line(done, disk)
        assert "is full" in said and "make room" in said
    else:
        assert left, "nothing can be written where nothing is left"
    now = whole(disk)
    assert {name: now.get(name) for name in kept} == kept
    (disk / "ballast").unlink()
    again = call(*command, *(["--replace"] if what == "add" and not done.exit_code else []))
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize("what", ["features", "train, checkpoint", "run", "embed", "report"])
def test_a_limit_on_the_size_of_files_ends_in_one_line(what, photos, tmp_path, own_home):
    before, command = COMMANDS[what]
    prepared(photos, *before)
    command = filled_in(command, tmp_path / "photos")
    kept = whole(own_home)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        done = call(*command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert done.exit_code == 1
    said = assert_one_line(done, tmp_path)
    assert "may be no larger" in said
    assert {name: digest for name, digest in whole(own_home).items() if name in kept} == kept
    assert call(*command).exit_code == 0


def test_a_home_that_can_only_be_read_answers_with_what_was_prepared(disk, photos, tmp_path):
    add = prepared(photos, FEATURES, TRAIN, RUN)
    work = tmp_path / "elsewhere"
    work.mkdir()
    shutil.copytree(disk / "work", work, dirs_exist_ok=True)
    os.chdir(work)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    photo = tmp_path / "photos/images/photo-1.jpg"
    for command in (
        ("models",), ("datasets", "list"), ("datasets", "show", "mine"), TRAIN, RUN, FEATURES, ("report",),
        ("predict", photo, "--model", "geoclip", "--gallery", "land:4k"),
        ("datasets", "check", "mine"),
        ("ceiling", "--datasets", "mine", "--galleries", "land:4k"),
        ("run", "--models", "geoclip", "--datasets", "mine", "--galleries", "land:4k", "--results", "more"),
    ):  # fmt: skip
        done = call(*command)
        assert done.exit_code == 0, (command, done.output)
    audit = call("datasets", "audit", "mine", "--against", "mine")
    assert "test_images" in audit.output, "the audit itself needs nothing that is written"
    assert str(disk / "home" / "subsets") in assert_one_line(audit, disk), "but the subset that it makes does"
    for command in (TRAIN_KNN, ("datasets", "add", "other", *add[3:])):
        done = call(*command)
        assert done.exit_code == 1, done.output
        said = assert_one_line(done, disk)
        assert "can only be read" in said
        assert "another place with GEOBENCH_HOME" in said


def as_nobody(*arguments, home, work):
    """Run a command as the user nobody, who is in the group of root for this once."""
    become = "import os, sys; os.setgroups([]); os.setgid(0); os.setuid(65534)"
    script = f"{become}; sys.argv = {['geobench', *map(str, arguments)]!r}; from geobench.cli import main; main()"
    environment = os.environ | {"GEOBENCH_HOME": str(home), "HOME": str(work), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=work, capture_output=True, text=True, check=False
    )


def test_files_have_the_permissions_that_the_umask_allows_and_the_group_of_the_folder(tmp_path):
    home = tmp_path / "shared"
    home.mkdir()
    home.chmod(0o2775)
    call = ["geobench", "train", "knn", "--limit", "20", "--set", "k=3"]
    script = f"import os, sys; os.umask(0o002); sys.argv = {call!r}; from geobench.cli import main; main()"
    environment = os.environ | {"GEOBENCH_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [path for path in home.rglob("*") if not path.is_symlink()]
    assert {path.name for path in found} >= {"weights.safetensors", "checkpoint.json", "features.npy"}
    for path in found:
        mode = path.stat().st_mode
        assert stat.S_IMODE(mode) == (0o2775 if path.is_dir() else 0o664), path


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_a_file_that_another_user_may_not_read_is_not_called_damaged(tmp_path):
    if not os.access(sys.executable, os.X_OK) or not _readable_by_all(Path(sys.executable).resolve()):
        pytest.skip("this Python is in a folder that another user may not read")
    home, work = tmp_path / "home", tmp_path / "theirs"
    work.mkdir(mode=0o777)
    work.chmod(0o777)
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            pytest.skip("the temporary folder is closed to other users")
    done = subprocess.run(
        [sys.executable, "-m", "geobench", "train", "knn", "--limit", "20", "--set", "k=3"],
        env=os.environ | {"GEOBENCH_HOME": str(home)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (weights,) = home.rglob("weights.safetensors")
    weights.chmod(0o600)
    done = as_nobody("run", "--models", "knn", "--datasets", "bluemarble", "--limit", "5", home=home, work=work)
    assert done.returncode == 1
    assert "permission" in done.stderr and "damaged" not in done.stderr and "delete" not in done.stderr


def _readable_by_all(path):
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)


def test_a_disk_without_room_for_another_file_is_not_only_called_full(disk):
    subprocess.run(["mount", "-o", "remount,nr_inodes=6", str(disk)], check=True)
    done = call("train", "knn", "--limit", "20", "--set", "k=3")
    assert done.exit_code == 1
    assert "no room for another file, df -i;" in assert_one_line(done, disk)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("command", ["models", "--help"])
def test_output_that_is_redirected_to_a_full_disk_is_one_line(command):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "geobench", command], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: /dev/full cannot be written: the disk of /dev is full")
    assert len(done.stderr.splitlines()) == 1


DROP = "import ctypes, os, sys; [ctypes.CDLL(None).prctl(24, c) for c in (1, 2)]; os.execv(sys.argv[1], sys.argv[1:])"
"""Even root then needs permission: without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize("closed", ["home", "checkpoints"])
def test_a_folder_without_permission_is_one_line_that_says_so(closed, tmp_path):
    home = tmp_path / "home"
    folder = home if closed == "home" else home / closed
    folder.mkdir(parents=True)
    folder.chmod(0o555)
    command = [sys.executable, "-m", "geobench", "train", "knn", "--limit", "20", "--set", "k=3"]
    done = subprocess.run([sys.executable, "-c", DROP, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert f"you have no permission to write in {folder}; ask its owner, or choose another place" in said


def test_permission_is_said_where_nothing_may_be_written(tmp_path):
    folder = tmp_path / "closed"
    with (
        pytest.raises(
            StorageError, match=r"you have no permission to write in .*; ask its owner, or choose another folder"
        ),
        writing(folder / "x"),
    ):
        raise PermissionError(13, "Permission denied", str(folder / "x"))
    with pytest.raises(PermissionError), writing(folder / "x"):  # that of another file is none of this one
        raise PermissionError(13, "Permission denied", "/somewhere/else")


def test_errors_that_are_not_of_the_disk_are_passed_on(tmp_path):
    with pytest.raises(ValueError, match="no space left"), writing(tmp_path / "x"):
        raise ValueError("no space left on device")  # not an error of a library that writes


@pytest.mark.parametrize("named", ["caches", "./caches", "~/caches", "~"])
def test_a_home_may_be_relative_or_that_of_the_user(named, tmp_path, monkeypatch, photos, cli):
    user = tmp_path / "user"
    user.mkdir()
    monkeypatch.setenv("HOME", str(user))
    monkeypatch.setenv("GEOBENCH_HOME", named)
    work = Path.cwd()
    expected = work / "caches" if "~" not in named else user / named.removeprefix("~").lstrip("/")
    assert files.home() == expected
    prepared(photos, FEATURES, TRAIN_KNN)
    assert (expected / "checkpoints" / "knn").is_dir()
    assert not (work / "~").exists()
    cli("run", "--models", "knn", "--datasets", "mine", "--galleries", "land:10")


def test_a_home_that_is_empty_is_the_default_and_one_that_is_a_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOBENCH_HOME", " ")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert files.home() == tmp_path / "cache" / "geobench"
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("GEOBENCH_HOME", str(tmp_path / "file"))
    with pytest.raises(SettingError, match=r"GEOBENCH_HOME is .*file, which is a file; name a folder"):
        files.home()
    done = call("models")
    assert done.exit_code == 2
    assert "which is a file" in done.stderr


def test_the_space_of_an_array_is_reserved_before_it_is_written(tmp_path):
    array = files.new_array(tmp_path / "a.npy", np.float32, (1000, 16))
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= array.nbytes
    array[:] = 1
    array.flush()
    assert np.load(tmp_path / "a.npy").sum() == 16_000
