"""The whole way on real photos, where they are at hand: they may not be passed on with the project."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from geobench import get_dataset
from geobench.geo import haversine_km
from geobench.results import read_results

SHARED = Path(os.environ.get("GEOBENCH_SHARED") or Path(__file__).parents[2] / "shared")
STREETS = SHARED / "photos" / "streetview_1602"
N = 120

pytestmark = pytest.mark.skipif(
    not STREETS.is_dir(), reason=f"there are no photos at {SHARED}; GEOBENCH_SHARED names the folder that has them"
)


@pytest.fixture
def streets(cli, tmp_path):
    """The street views as a data set, a part of them in a table of its own."""
    with (STREETS / "metadata.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    chosen = rows[:: len(rows) // N][:N]
    table = tmp_path / "part.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(chosen[0]))
        writer.writeheader()
        writer.writerows(chosen)
    added = cli("datasets", "add", "streets", "--images", STREETS / "images", "--metadata", table,
                "--encoder", "efficientnet_lite0")  # fmt: skip
    assert f"streets: {N} images" in added.stdout
    return get_dataset("streets")


def test_street_views_go_the_whole_way(streets, cli):
    checked = cli("datasets", "check", "streets", "--json").stdout
    found = json.loads(checked)
    assert (found["listed"], found["found"], found["readable"], found["ok"]) == (N, N, N, True)
    cli("train", "knn", "--data", "streets", "--set", "k=5")
    cli("train", "classifier", "--data", "streets", "--set", "min_images=1", "--set", "max_images=[40, 10]",
        "--set", "batch_size=40", "--set", "epochs=2")  # fmt: skip
    ran = cli("run", "--models", "knn,classifier", "--datasets", "streets")
    assert f"was trained on all {N} test images" in ran.stderr
    results, _ = read_results(Path("results"))
    assert {result.model for result in results} == {"knn", "classifier"}
    for result in results:
        assert (result.n, result.failed, result.in_training) == (N, 0, N)
    told = cli("report", "--format", "markdown").stdout
    assert "knn@streets" in told and "classifier@streets" in told and f"(from {N} of {N})" in told


def accuracies(errors):
    return {name: 100 * np.mean(errors <= km) for name, km in (("acc_25km", 25), ("acc_750km", 750))}


def test_predictions_of_three_shapes_score_what_their_distances_say(streets, cli, tmp_path):
    table = streets.table("test")
    truth = table[["latitude", "longitude"]].to_numpy()
    rng = np.random.default_rng(0)
    moved = np.clip(truth + rng.normal(0, [[0.05], [3.0]][1], truth.shape), [-89, -179], [89, 179])
    moved[::3] = truth[::3] + 0.05
    errors = haversine_km(truth, moved)
    places = [(name, *place) for name, place in zip(table["image"], moved.tolist(), strict=True)]
    flat = tmp_path / "flat.csv"
    flat.write_text("image,pred_lat,pred_lon\n" + "".join(f"{n},{a!r},{b!r}\n" for n, a, b in places))
    nested = tmp_path / "nested.jsonl"
    answers = [{"image": n, "location": {"coordinates": {"latitude": a, "longitude": b}}} for n, a, b in places]
    nested.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    wide = tmp_path / "wide.csv"
    lines = (f"{n},{a!r},{b!r},{-a!r},{b!r}\n" for n, a, b in places)
    wide.write_text("image,pred_lat_one,pred_lon_one,pred_lat_other,pred_lon_other\n" + "".join(lines))
    for path in (flat, nested, wide):
        cli("score", path, "--dataset", "streets")
    results, _ = read_results(Path("results"))
    scored = {result.model: result for result in results}
    assert len(scored) == 4  # the wide table is of two models
    expected = accuracies(errors)
    right = [result for name, result in scored.items() if "other" not in name]
    assert len(right) == 3
    for result in right:
        assert result.n == N
        for name, value in expected.items():
            assert result.scores[name] == pytest.approx(value, abs=1e-9), (result.model, name)
