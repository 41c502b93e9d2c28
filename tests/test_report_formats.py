import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from geobench.report import formats, latex
from geobench.report.formats import FORMATS, report
from geobench.report.latex import LETTERS, SIGNS, escape, latex_document, latex_tables
from geobench.report.rows import rows
from geobench.report.tables import Entry, Table, tables

FOLDER = Path("results")
compiles = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed (Debian: texlive)")


def pdflatex(text):
    """Compile ``text``; return the log."""
    Path("t.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert Path("t.pdf").stat().st_size > 1000
    return done.stdout


@compiles
def test_the_latex_report_compiles_as_it_is(make_result):
    for number, (model, right) in enumerate((("geo_clip & co", 3), ("knn", 1))):
        make_result([0.0] * right + [80.0] * (9 - right), key=f"{number}" * 16, model=model, dataset="im2gps3k").save(
            FOLDER
        )
    log = pdflatex(report("latex", FOLDER, published="paper"))
    assert "LaTeX Warning" not in log.replace("No file t.aux", "")
    assert "1 page" in log


@compiles
def test_every_sign_that_is_written_is_printed():
    text = "".join(SIGNS) + "".join(sorted(LETTERS)) + "".join(map(chr, range(32, 127))) + "東京 Łódź \t\n [x]"
    table = Table("a_b [c]", [{"Model": Entry(text, "[1, 2]", True), "n": Entry("[3]")}] * 2, 1, [text])
    log = pdflatex(latex_document([table]))
    assert "Missing character" not in log
    assert "undefined" not in log.lower()


def test_special_signs_are_escaped():
    assert escape("a_b & 5 % of $x #1 {y}") == r"a\_b \& 5 \% of \$x \#1 $\{$y$\}$"
    assert escape("\\input{x}") == r"$\backslash$input$\{$x$\}$"
    assert escape("Łódź, 東\n京") == "U+0141ódU+017A, U+6771 U+4EAC"


def test_a_fragment_is_the_document_without_its_frame(make_result):
    make_result().save(FOLDER)
    document, fragment = report("latex", FOLDER), report("latex-fragment", FOLDER)
    assert fragment in document
    assert document.startswith(r"\documentclass")
    assert r"\documentclass" not in fragment
    assert fragment.count(r"\begin{table*}") == fragment.count(r"\end{table*}") == 1


def test_rules_are_those_of_booktabs_and_ours_are_set_apart_from_the_papers():
    measured, published = ({"Model": Entry(name), "n": Entry("1")} for name in ("ours", "theirs"))
    lines = latex_tables([Table("t", [measured, published], 1)]).splitlines()
    between = lines[lines.index(r"ours & 1 \\") + 1 : lines.index(r"theirs & 1 \\")]
    assert between == [r"\midrule"]
    assert [line for line in lines if "rule" in line] == [r"\toprule", r"\midrule", r"\midrule", r"\bottomrule"]
    alone = latex_tables([Table("t", [measured], 1)])
    assert alone.count(r"\midrule") == 1


def test_the_best_are_bold_and_intervals_small_below():
    lines = latex_tables([Table("t", [{"Model": Entry("m"), "City 25 km": Entry("50.0", "[40.0, 60.0]", True)}], 1)])
    assert r"m & \textbf{50.0} \\" in lines
    assert r" & {\tiny {[}40.0, 60.0]} \\" in lines
    assert r"Model & City \\" + "\n" + r" & 25 km \\" in lines


def test_a_model_with_a_bar_does_not_break_a_markdown_table(make_result):
    make_result(model="a|b").save(FOLDER)
    (row,) = (line for line in report("markdown", FOLDER).splitlines() if line.startswith("| a"))
    assert row.startswith("| a\\|b@")


def test_small_distances_keep_a_digit_and_large_ones_are_grouped(make_result):
    make_result([0.001, 0.02, 0.04] * 2).save(FOLDER)  # 0.1, 2.2, 4.4 km
    text = report("markdown", FOLDER)
    assert "| 2.2 [" in text
    make_result([80.0] * 6, key="f" * 16, model="far").save(FOLDER)
    assert "8,896 [" in report("markdown", FOLDER)


def test_figures_of_papers_keep_their_digits(make_result):
    make_result(dataset="gws15k").save(FOLDER)
    shown = {entry.text for table in tables(rows_of()) for row in table.rows[table.ours :] for entry in row.values()}
    assert {"0.6", "3.1", "16.9", "45.7", "74.1", "0.05"} <= shown


def rows_of():
    from geobench.results import read_results

    return rows(read_results(FOLDER)[0])


def test_csv_keeps_texts_with_commas_and_reads_back(make_result):
    make_result(images='Photos, "mine"').save(FOLDER)
    Path("t.csv").write_text(report("csv", FOLDER))
    row = pd.read_csv("t.csv").iloc[0]
    assert row["images"] == 'Photos, "mine"'
    assert row["acc_25km_low"] < row["acc_25km"] < row["acc_25km_high"]


def test_another_format_can_join(make_result, monkeypatch):
    make_result().save(FOLDER)
    monkeypatch.setitem(FORMATS, "count", formats.Format(lambda rows, damaged, **how: f"{len(rows)} rows"))
    assert report("count", FOLDER) == "1 rows"


def test_no_letter_is_both_kept_and_replaced():
    assert not LETTERS & set(latex.SIGNS)


def test_a_gap_parts_rows_but_not_a_row_from_the_papers_below_it():
    ours, paper = {"Model": Entry("a"), "n": Entry("5", "[1, 2]")}, {"Model": Entry("a"), "n": Entry("6")}
    other = {"Model": Entry("b"), "n": Entry("7", "[3, 4]")}
    body = latex_tables([Table("t", [ours, paper, other], 3)]).partition("\\midrule")[2].partition("\\bottomrule")[0]
    assert [line[:9] for line in body.split("\n")] == [
        "",
        "a & 5 \\\\",
        " & {\\tiny",
        "a & 6 \\\\",
        "\\addlines",
        "b & 7 \\\\",
        " & {\\tiny",
        "",
    ]
