"""What a terminal shows: a table at any width, chosen models and columns in a chosen order, the place of a result."""

import csv
import io
import json
import os
import struct
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from geobench import UnknownNameError
from geobench.errors import SettingError
from geobench.report.formats import report
from geobench.report.rows import rows
from geobench.report.tables import tables
from geobench.report.terminal import terminal_text
from geobench.results import FOLDER


def degrees(hits, n=60):
    return [0.0] * hits + [9.0] * (n - hits)


@pytest.fixture
def evening(make_result):
    """Save results of four models, a floor among them, two of which have two galleries or seeds."""
    made = [
        make_result(degrees(20), model="knn", gallery="", gallery_size=0),
        make_result(degrees(50), model="most-frequent", gallery="", gallery_size=0, checkpoint="mine-s0-ffffffff"),
        make_result(degrees(40), model="geoclip", gallery="land:3", checkpoint="mine-s0-11111111"),
        make_result(degrees(30), model="geoclip", gallery="land:4", gallery_size=4, checkpoint="mine-s0-11111111"),
        make_result(degrees(30), model="translocator", gallery="", gallery_size=0, checkpoint="mine-s0-22222222"),
    ]
    for result in made:
        result.save()
    return made


def models(text):
    """Return the models of a Markdown table in their order."""
    return [
        line.split("|")[1].split("@")[0].strip() for line in text.splitlines() if "@mine" in line and line[0] == "|"
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 200])
def test_no_line_is_wider_than_the_terminal_and_every_score_is_there(evening, width):
    text = report("table", FOLDER, width=width)
    assert max(map(len, text.splitlines())) <= width
    (table,) = tables(rows(evening, "methods"))
    for row in table.rows:
        assert all(entry.text in text for entry in row.values() if entry.value is not None)
    assert ("[" in text.split("Images:")[0]) != ("Confidence intervals do not fit into" in text), "left out is said"


def test_a_file_or_a_pipe_gets_the_whole_table(evening, cli):
    whole = report("table", FOLDER)
    assert cli("report").stdout == whole + "\n"
    assert cli("report", "--output", "table.txt") and Path("table.txt").read_text() == whole + "\n"
    assert "[" in whole and max(map(len, whole.splitlines())) > 120


@pytest.mark.skipif(sys.platform == "win32", reason="no terminal to ask")
def test_the_command_asks_the_terminal_how_wide_it_is(evening):
    import fcntl
    import pty
    import subprocess
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    run = [sys.executable, "-m", "geobench", "report"]
    with subprocess.Popen(run, stdout=theirs, stderr=subprocess.PIPE, env=environment) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux ends a terminal so
                part = b""
            if not part:
                break
            shown += part
    os.close(ours)
    lines = shown.decode().replace("\r\n", "\n").splitlines()
    assert process.returncode == 0 and lines[0] == "mine"
    assert 60 < max(map(len, lines)) <= 80


def test_a_mark_stays_beside_its_score_and_seeds_stand_below(make_result):
    seeds = [
        make_result(degrees(hits), gallery="land:3", seed=seed, training_seed=0, gallery_hash=f"{seed}" * 16)
        for seed, hits in ((0, 30), (1, 40))
    ]
    other = make_result(degrees(0), model="other", gallery="", gallery_size=0, checkpoint="mine-s0-22222222")
    text = terminal_text(tables(rows([*seeds, other], "none")), 80)
    assert "58.3*" in text and "± 11.8" in text and "11.8*" not in text
    assert "gallery seeds" in " ".join(text.split())


def test_models_that_ignore_the_photo_stand_last_even_if_they_are_better(evening):
    assert models(report("markdown", FOLDER)) == ["geoclip", "geoclip", "knn", "translocator", "most-frequent"]
    foreign = replace(evening[1], config={"foreign_file": "abc"}, checkpoint="", model="most-frequent")
    found = rows([foreign, evening[0]], "none")
    assert [row.results[0].model for row in found] == ["knn", "most-frequent"]


def test_rows_are_sorted_by_a_score_best_first_or_by_model(evening):
    by_hits = ["most-frequent", "geoclip", "geoclip", "translocator", "knn"]
    for name in ("acc_25km", "City 25 km", "city 25 KM", "geoscore"):
        assert models(report("markdown", FOLDER, sort=name))[0] == "most-frequent"
    assert models(report("markdown", FOLDER, sort="acc_25km")) == by_hits
    assert [row["model"] for row in json.loads(report("json", FOLDER, sort="mean_km"))] == by_hits
    assert models(report("markdown", FOLDER, sort="model")) == sorted(by_hits)
    with pytest.raises(UnknownNameError, match=r"unknown score to sort by 'acc_25'; did you mean acc_25km"):
        report("markdown", FOLDER, sort="acc_25")


def test_published_rows_stay_below_ours_however_they_are_sorted(make_result):
    make_result(degrees(1), dataset="im2gps3k").save()
    lines = report("markdown", FOLDER, sort="acc_25km").splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert "knn@mine" in table[1] and "knn@mine" not in "".join(table[2:])
    at = [head.strip() for head in table[0].split("|")].index("City 25 km")
    scores = [float(line.split("|")[at].strip() or -1) for line in table[2:]]
    assert scores == sorted(scores, reverse=True) and len(scores) > 10


def test_chosen_models_are_shown_alone_and_the_others_are_counted(evening, cli):
    text = cli("report", "--models", "knn,geoclip", "--format", "markdown").stdout
    assert models(text) == ["geoclip", "geoclip", "knn"]
    assert "Chosen models alone: 2 other results are not shown, and no mark takes account of them." in text
    record = next(FOLDER.glob("*translocator*.json"))
    assert models(cli("report", "--models", record, "--format", "markdown").stdout) == ["translocator"]
    assert "Chosen" not in report("markdown", FOLDER)
    said = cli("report", "--models", "geoklip", exit_code=2).stderr
    assert said == "Error: unknown result in results 'geoklip'; did you mean geoclip?\n"
    page = report("html", FOLDER, models=["knn"])
    assert "4 other results are not shown" in page


def test_chosen_columns_keep_what_tells_rows_apart(evening):
    text = report("markdown", FOLDER, columns=["acc_25km", "Median km"])
    head = next(line for line in text.splitlines() if line.startswith("| Model"))
    assert [name.strip() for name in head.split("|")[1:-1]] == ["Model", "Gallery", "City 25 km", "Median km"]
    alone = report("markdown", FOLDER, models=["knn"], columns=["n", "acc_25km"])
    head = next(line for line in alone.splitlines() if line.startswith("| Model"))
    assert [name.strip() for name in head.split("|")[1:-1]] == ["Model", "n", "City 25 km"]
    with pytest.raises(UnknownNameError, match=r"unknown column 'acc_26km'; did you mean acc_25km"):
        report("markdown", FOLDER, columns=["acc_26km"])


def test_failed_images_are_shown_though_their_column_was_not_chosen(make_result):
    make_result((0.0, None, 1.0)).save()
    assert "Failed" in report("markdown", FOLDER, columns=["acc_25km"]).split("Images:")[0]


def test_columns_of_data_are_chosen_by_their_names(evening):
    lines = list(csv.reader(io.StringIO(report("csv", FOLDER, columns=["label", "acc_25km_low", "doubts"]))))
    assert lines[0] == ["label", "acc_25km_low", "doubts"] and len(lines) == 6
    with pytest.raises(UnknownNameError, match="unknown column 'City 25 km'"):
        report("json", FOLDER, columns=["City 25 km"])
    with pytest.raises(SettingError, match="a page shows every column"):
        report("html", FOLDER, columns=["acc_25km"])


@pytest.fixture
def theirs():
    """Write a file of predictions that has 25 of 60 photos right, and its test set."""
    truth = ["image,latitude,longitude", *(f"photo-{number}.jpg,0.0,10.0" for number in range(60))]
    Path("truth.csv").write_text("\n".join(truth))
    hits = [f"photo-{number}.jpg,{0.001 if number < 25 else 9.0},10.0" for number in range(60)]
    Path("theirs.csv").write_text("\n".join(["image,latitude,longitude", *hits]))


def test_score_prints_its_own_row_and_the_place_that_it_takes(evening, theirs, cli):
    done = cli("score", "theirs.csv", "--truth", "truth.csv", "--dataset", "mine", "--name", "theirs")
    assert "theirs" in done.stdout and "translocator" not in done.stdout
    place = next(line for line in done.stdout.splitlines() if line.startswith("Place of theirs"))
    assert "among the 6 results on these images: 5 by Street 1 km, " in place, "only knn has fewer hits"
    assert "The whole table: geobench report --datasets mine" in done.stderr


def test_a_partial_result_takes_no_place(evening, theirs, cli):
    some = Path("theirs.csv").read_text().splitlines()[:30]
    Path("theirs.csv").write_text("\n".join(some))
    done = cli("score", "theirs.csv", "--truth", "truth.csv", "--dataset", "mine", "--name", "theirs")
    assert "takes no place" in done.stdout and "partial" in done.stdout and "Place of" not in done.stdout
