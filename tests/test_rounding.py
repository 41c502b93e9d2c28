"""A score is printed alike wherever it appears: half to even of the decimal number that it stands for."""

import re
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geobench.analysis.details import DetailedResult
from geobench.analysis.tables import show_breakdown
from geobench.report.html.page import html_page
from geobench.report.html.regions import regions
from geobench.report.rows import rows
from geobench.report.tables import tables
from geobench.rounding import shown


@given(st.integers(0, 3000), st.integers(1, 3000), st.integers(0, 3))
def test_a_share_is_rounded_as_a_fraction_however_it_was_computed(hits, n, digits):
    exact = (Decimal(100 * min(hits, n)) / n).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN)
    for computed in (100 * min(hits, n) / n, 100 * (min(hits, n) / n), sum([100 / n] * min(hits, n))):
        assert shown(computed, digits) == f"{exact:,.{digits}f}"


def test_no_zero_has_a_sign_unless_one_is_asked_for():
    assert [shown(value, 1) for value in (-0.0, -0.04, 0.0)] == ["0.0"] * 3
    assert [shown(value, 1, "+") for value in (0.04, 1.25, -1.25)] == ["+0.0", "+1.2", "-1.2"]
    assert shown(float("nan"), 1) == "nan" and shown(float("-inf"), 0) == "-inf"


@pytest.mark.parametrize(("hits", "n", "text"), [(1, 400, "0.2"), (3, 400, "0.8"), (7, 2000, "0.4"), (1, 2000, "0.0")])
def test_a_share_is_the_same_in_the_table_the_breakdown_and_the_page(make_result, hits, n, text):
    result = make_result(latitudes=[0.0] * hits + [60.0] * (n - hits), gallery="", trained_on="")
    (row,) = rows([result], "none")
    (table,) = tables([row])
    assert table.rows[0]["City 25 km"].text == text
    groups = show_breakdown([DetailedResult(result)], "continent", 1)
    assert f" {text} (" in next(line for line in groups.splitlines() if line.startswith("all images"))
    page = html_page([row])
    assert re.search(rf'data-value="{100 * hits / n}"[^>]*>\s*{re.escape(text)}\s*<', page)
    share = regions([row], DetailedResult(result))["continent"][-1]["shares"][0][1][0]
    assert shown(share, 1) == text, "what the page's script rounds has all its digits"
