"""Answers in words on the command line: a dry run, a run, another parser, prices stated later, and what they cost."""

import json
import re

import pytest
from chat_server import completion, error, serving
from PIL import Image

from geobench.services import asking

REFUSAL = completion("I'm sorry, I can't help with that.")
FRANCE = completion('{"latitude": null, "longitude": null, "country": "France"}')
CITY = completion('{"latitude": null, "longitude": null, "country": "France", "city": "Lyon"}')


@pytest.fixture
def endpoint(monkeypatch):
    """Yield a server whose first photos are refused, unread, lost, placed in a country and in a city."""
    monkeypatch.setattr(asking, "BACKOFF_S", 0.001)
    script = {0: [REFUSAL], 1: [completion("hm")], 2: [error(500, "oops")] * 2, 3: [FRANCE], 4: [CITY]}
    with serving(script) as server:
        yield server


def run(cli, tmp_path, endpoint, *more, **exits):
    settings = [f"base_url={endpoint.address}", "image_size=32", "concurrency=1", "tries=2"]
    given = [part for setting in settings for part in ("--set", setting)]
    results = ["--results", str(tmp_path / "results")]
    return cli(
        "run", "--models", "chat:tiny", "--datasets", "bluemarble", "--limit", "12", *given, *results, *more, **exits
    )


def answers(cli, tmp_path, *more):
    done = cli("answers", "chat:tiny", "--results", str(tmp_path / "results"), "--format", "json", *more)
    return json.loads(done.stdout)


def test_an_evening_with_an_endpoint(cli, tmp_path, endpoint):
    planned = run(cli, tmp_path, endpoint, "--dry-run", "--set", "price_in=2.5", "--set", "price_out=10")
    assert "ask, at most so many tokens" in planned.stdout
    assert not endpoint.photos

    first = run(cli, tmp_path, endpoint)
    assert "chat:tiny: 9 answered, 1 refused, 1 unparseable, 1 lost to an error of the service" in first.stdout
    assert "1 of 12 images are lost to errors of the service; to ask for them again: the same" in first.stderr
    (row,) = answers(cli, tmp_path)
    assert (row["answered"], row["refused"], row["unparseable"], row["lost"]) == (9, 1, 1, 1)
    assert (row["cost"], row["tokens_in"]) == (None, 11_000)
    assert row["coarser_1km"] == pytest.approx(100 * 2 / 9)
    assert row["coarser_200km"] == pytest.approx(100 / 9)
    assert row["coarser_750km"] == 0

    asked = len(endpoint.photos)
    planned = run(cli, tmp_path, endpoint, "--dry-run", "--force")
    assert re.search(r"ask, tokens as measured so far +1 +1,000 +20 ", planned.stdout)  # the photo that was lost
    kept = run(cli, tmp_path, endpoint)
    assert "kept the result" in kept.stderr
    run(cli, tmp_path, endpoint, "--set", "price_in=2.5", "--set", "price_out=10", "--force")
    assert len(endpoint.photos) == asked + 1  # the photo that was lost
    (row,) = answers(cli, tmp_path)
    assert (row["answered"], row["lost"]) == (10, 0)
    assert row["cost"] == pytest.approx(12 * (1000 * 2.5 + 20 * 10) / 1e6)

    measured = run(cli, tmp_path, endpoint, "--dry-run", "--set", "run=2", "--set", "price_in=1").stdout
    assert " 12 " in measured

    run(cli, tmp_path, endpoint, "--retry", "refused,unparseable")
    assert len(endpoint.photos) == asked + 3
    (row,) = answers(cli, tmp_path)
    assert row["answered"] == 12


def test_costs_are_drawn_and_two_settings_told_apart(cli, tmp_path, endpoint):
    prices = ("--set", "price_in=2.5", "--set", "price_out=10")
    run(cli, tmp_path, endpoint, *prices)
    run(cli, tmp_path, endpoint, *prices, "--set", "parser=free")
    folder = ["--results", str(tmp_path / "results")]
    shown = cli("answers", "chat", *folder, "--picture", str(tmp_path / "costs.png"))
    assert "chat:tiny (parser=json@1)" in shown.stdout
    assert "chat:tiny (parser=free@1)" in shown.stdout
    assert "° some answers name nothing as fine as this distance" in shown.stdout
    assert (tmp_path / "costs.png").stat().st_size > 5_000


def test_what_is_no_answer_or_no_price_is_one_line(cli, tmp_path, endpoint, make_result):
    make_result(model="knn").save(tmp_path / "results")
    folder = ["--results", str(tmp_path / "results")]
    assert "was computed here, not answered" in cli("answers", "knn", *folder, exit_code=1).output
    run(cli, tmp_path, endpoint)
    done = cli("answers", "chat", *folder, "--picture", str(tmp_path / "costs.png"), exit_code=1)
    assert "none of these results has a cost; state prices per million tokens" in done.output
    done = run(cli, tmp_path, endpoint, "--retry", "everything", exit_code=2)
    assert "retry must be one of errors, refused, unparseable, not 'everything'" in done.output
    done = run(cli, tmp_path, endpoint, "--max-cost", "3", "--set", "run=3", exit_code=1)
    assert "a limit on cost needs the prices of chat per million tokens: --set price_in=2.5" in done.output


def test_a_file_of_settings_names_the_results_of_its_model(cli, tmp_path, endpoint):
    results = ["--results", str(tmp_path / "results")]
    files = {}
    for image_size in (32, 48):
        files[image_size] = tmp_path / f"{image_size}.toml"
        files[image_size].write_text(
            f'model = "tiny"\nbase_url = "{endpoint.address}"\nimage_size = {image_size}\nconcurrency = 1\ntries = 2\n'
        )
    sets = ["--datasets", "bluemarble", "--limit", "12"]
    cli("run", "--models", f"chat:{files[32]}", *sets, *results)
    other = cli("answers", f"chat:{files[48]}", *results, exit_code=2)
    assert "unknown result" in other.stderr
    (row,) = json.loads(cli("answers", f"chat:{files[32]}", *results, "--format", "json").stdout)
    assert row["answered"] == 9


def test_photos_are_placed_by_predict_and_failures_are_said(cli, tmp_path, endpoint):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(4):
        Image.new("RGB", (40, 30), (40 * number, 200, 90)).save(photos / f"{number}.jpg")
    (photos / "4.jpg").write_bytes(b"no photo")
    settings = tmp_path / "tiny.toml"
    settings.write_text(f'model = "tiny"\nbase_url = "{endpoint.address}"\nconcurrency = 1\ntries = 2\n')
    done = cli("predict", "--model", f"chat:{settings}", photos, "--format", "json", exit_code=1)
    (placed,) = json.loads(done.stdout)
    assert (placed["query"], placed["country"]) == (str(photos / "3.jpg"), "France")
    told = dict(line.removeprefix(f"Failed: {photos}/").split(": ", 1) for line in done.stderr.splitlines()[1:])
    assert told["0.jpg"] == "refused, declined: \"I'm sorry, I can't help with that.\""
    assert told["1.jpg"].startswith("unparseable, ")
    assert told["2.jpg"].startswith("service error, ")
    assert told["4.jpg"] == "4.jpg: is of an unknown format, which cannot be read"
    assert len(endpoint.photos) == 5  # the last photo is never sent, the third one twice
