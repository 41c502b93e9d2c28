"""Chat models: against a server that fails on a schedule, and against llama.cpp's own."""

import base64
import io
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from chat_server import PARIS, completion, error, serving
from PIL import Image

from geobench import SettingError, evaluate
from geobench.errors import ServiceError
from geobench.predictions import OK, REFUSED, SERVICE, UNPARSEABLE
from geobench.services import asking

KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Wait little between attempts, and have a key."""
    monkeypatch.setattr(asking, "BACKOFF_S", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def chat(server, **settings):
    from geobench.settings import configure
    from geobench_plugins.chat.model import Chat

    values = {"model": "tiny", "base_url": server.address, "concurrency": 4, "tries": 3, "image_size": 64}
    return Chat(configure(Chat.Config, values | settings, "chat"))


HTML = (200, {"Content-Type": "text/html"}, b"<html><body>Please log in</body></html>")
BROKEN = (200, {}, b'{"id": "chatcmpl-1", "choices": [{"message": {"con')
NOT_NOW = error(429, "Rate limit reached", "rate_limit_exceeded", retry_after=0.02)
SCHEDULE = {
    "429 with Retry-After, then an answer": ([NOT_NOW, NOT_NOW], OK, 3),
    "429 for ever": ([NOT_NOW] * 3, SERVICE, 3),
    "500, 502, then an answer": ([error(500, "oops"), error(502, "bad gateway")], OK, 3),
    "503 for ever": ([error(503, "overloaded")] * 3, SERVICE, 3),
    "a dropped connection, then an answer": (["drop"], OK, 2),
    "a timeout, then an answer": ([2.5], OK, 2),
    "HTML, then an answer": ([HTML], OK, 2),
    "HTML for ever": ([HTML] * 3, SERVICE, 3),
    "broken JSON of the protocol": ([BROKEN], OK, 2),
    "content filter, an error": ([error(400, "filtered by the policy", "content_filter")], REFUSED, 1),
    "content filter, an answer": ([completion(None, "content_filter")], REFUSED, 1),
    "a refusal in its field": ([completion(None, refusal="I can't help with that.")], REFUSED, 1),
    "a refusal in words": ([completion("I'm sorry, but I can't help with identifying locations.")], REFUSED, 1),
    "a refusal in German": ([completion("Es tut mir leid, dabei kann ich nicht helfen.")], REFUSED, 1),
    "a context too long": ([error(400, "too many tokens", "context_length_exceeded")], SERVICE, 1),
    "an image rejected": ([error(400, "Invalid image", "invalid_image_format")], SERVICE, 1),
    "too large": ([error(413, "Request too large")], SERVICE, 1),
    "invalid JSON of the answer": ([completion('{"latitude": 48.8, "longitude": }')], UNPARSEABLE, 1),
    "half an answer": ([completion('{"latitude": 48.8, "long', "length")], UNPARSEABLE, 1),
    "half an answer that does not say so": ([completion('{"latitude": 48.8, "long')], UNPARSEABLE, 1),
    "an empty answer": ([completion("")], UNPARSEABLE, 1),
    "no content": ([completion(None)], UNPARSEABLE, 1),
    "no choices": ([(200, {}, b'{"choices": [], "usage": null}')], OK, 2),
    "no usage": ([completion(PARIS, usage=False)], OK, 1),
    "an answer": ([completion(PARIS)], OK, 1),
}


def test_every_fault_on_the_schedule_is_a_status_nothing_is_lost_and_nothing_asked_twice():
    with serving({number: script for number, (script, _, _) in enumerate(SCHEDULE.values())}) as server:
        # one at a time, so that photos arrive in the order of the schedule
        model = chat(server, concurrency=1, timeout_s=2.0)
        result = evaluate(model, "bluemarble", limit=len(SCHEDULE))
        found = dict(zip(SCHEDULE, result.predictions.status, strict=True))
        assert found == {what: status for what, (_, status, _) in SCHEDULE.items()}
        asked = Counter(server.photos)
        assert [asked[photo] for photo in server.order] == [requests for _, _, requests in SCHEDULE.values()]
        assert sum(result.statuses.values()) == len(SCHEDULE)
        reasons = dict(zip(SCHEDULE, result.predictions.answers["reason"], strict=True))
        assert all(bool(reason) == (found[what] != OK) for what, reason in reasons.items())
        before = len(server.photos)
        again = evaluate(chat(server, concurrency=1), "bluemarble", limit=len(SCHEDULE))
        lost = sum(
            found[what] == SERVICE and script[0] in (NOT_NOW, HTML, error(503, "overloaded"))
            for what, (script, _, _) in SCHEDULE.items()
        )
        assert len(server.photos) - before == lost == 3
        assert again.statuses[OK] == result.statuses[OK] + lost


def test_the_same_prompt_costs_nothing_and_another_has_a_result_of_its_own():
    with serving() as server:
        first = evaluate(chat(server), "bluemarble", limit=5)
        assert len(server.photos) == 5
        assert evaluate(chat(server), "bluemarble", limit=5).key == first.key
        assert len(server.photos) == 5
        other = evaluate(chat(server, prompt="free"), "bluemarble", limit=5)
        assert len(server.photos) == 10
        assert other.key != first.key


def test_another_parser_asks_nothing_again_and_has_a_result_of_its_own():
    with serving({"*": [completion("It is Lyon, France.")]}) as server:
        first = evaluate(chat(server, prompt="json"), "bluemarble", limit=4)
        assert first.statuses == {UNPARSEABLE: 4}
        other = evaluate(chat(server, prompt="json", parser="free"), "bluemarble", limit=4)
        assert (other.statuses, len(server.photos)) == ({OK: 4}, 4)
        assert other.key != first.key
        np.testing.assert_allclose(other.predictions.coordinates[:, 0], [[45.75, 4.83]] * 4, atol=0.05)
        assert set(other.predictions.answers["country"]) == {"FR"}


def test_another_geocoder_asks_nothing_again_and_has_a_result_of_its_own(monkeypatch):
    with serving() as server:
        first = evaluate(chat(server), "bluemarble", limit=3)
        monkeypatch.setattr("geobench_plugins.chat.model.geocoder", lambda: "rules 99")
        other = evaluate(chat(server), "bluemarble", limit=3)
        assert other.key != first.key
        assert other.config["geocoder"] == "rules 99"
        assert len(server.photos) == 3


def test_what_is_sent_is_the_photo_without_metadata_the_prompt_and_the_settings(photos, cli):
    images, metadata = photos(2)
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 24.0), 3: "E", 4: (2.0, 21.0, 7.0)})
    Image.new("RGB", (300, 200), "red").save(images / "photo-0.jpg", exif=exif)
    cli("datasets", "add", "mine", "--images", str(images), "--metadata", str(metadata))
    with serving() as server:
        evaluate(chat(server, temperature=0.5, seed=7, image_size=64), "mine")
        body = server.bodies[0]
        assert (body["model"], body["temperature"], body["seed"]) == ("tiny", 0.5, 7)
        assert body["response_format"]["type"] == "json_schema"
        url = body["messages"][-1]["content"][-1]["image_url"]["url"]
        sent = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
        assert max(sent.size) <= 64
        assert not sent.getexif()
        assert "photo-" not in str({**body, "messages": [m if i else "" for i, m in enumerate(body["messages"])]})
        assert server.keys[0] == f"Bearer {KEY}"


def test_each_sample_of_a_photo_has_a_seed_of_its_own():
    with serving() as server:
        evaluate(chat(server, seed=7, samples=3), "bluemarble", limit=1)
        assert sorted(body["seed"] for body in server.bodies) == [7, 8, 9]


def test_candidates_are_the_positions_of_similar_training_photos_and_never_of_the_photo_itself(photos, cli):
    images, metadata = photos(6)
    cli("datasets", "add", "mine", "--images", str(images), "--metadata", str(metadata), "--encoder", "tiny")
    with serving() as server:
        how = {"prompt": "candidates", "context": "mine"}
        results = [evaluate(chat(server, candidates=n, **how), "mine") for n in (3, 6)]
        truth = {f"{latitude:.5f}, {longitude:.5f}" for latitude, longitude in results[0].truth}
        texts = [body["messages"][-1]["content"][0]["text"] for body in server.bodies]
        listed = [[line for line in text.splitlines() if line in truth] for text in texts]
        assert [len(places) for places in listed] == [3] * 6 + [5] * 6
        assert sorted(truth.difference(places).pop() for places in listed[6:]) == sorted(truth)
        assert results[0].key != results[1].key


def test_a_training_set_that_changed_asks_anew(photos, cli):
    images, metadata = photos(6)
    cli("datasets", "add", "mine", "--images", str(images), "--metadata", str(metadata), "--encoder", "tiny")
    how = {"prompt": "candidates", "context": "mine", "candidates": 2}
    with serving() as server:
        first = evaluate(chat(server, **how), "bluemarble", limit=2)
        metadata.write_text("".join(metadata.read_text().splitlines(True)[:-1]))
        cli("datasets", "remove", "mine")
        cli("datasets", "add", "mine", "--images", str(images), "--metadata", str(metadata), "--encoder", "tiny")
        second = evaluate(chat(server, **how), "bluemarble", limit=2)
        assert len(server.photos) == 4
        assert first.key != second.key


def test_examples_precede_the_question_with_their_positions(photos, cli, tmp_path):
    images, metadata = photos(4)
    cli("datasets", "add", "mine", "--images", str(images), "--metadata", str(metadata))
    prompt = tmp_path / "shots.toml"
    user = "The first photos were taken at:\\n{examples}\\nAnd the last?"
    prompt.write_text(
        f'name = "shots"\nversion = 1\nparser = "json"\nuser = "{user}"\n[protocol]\nsource = "this test"\n'
    )
    with serving() as server:
        evaluate(chat(server, prompt=str(prompt), examples=2, context="mine"), "mine")
        for body in server.bodies:
            kinds = [part["type"] for part in body["messages"][-1]["content"]]
            assert kinds == ["image_url", "image_url", "text", "image_url"]
            pictures = [part["image_url"]["url"] for part in body["messages"][-1]["content"] if "image_url" in part]
            assert len(set(pictures)) == 3  # never the photo itself


def test_a_context_without_a_place_or_a_set_is_one_line():
    class Nowhere:
        address = "http://127.0.0.1:1/v1"

    with pytest.raises(SettingError, match=r"the prompt json has no place for candidates; write \{candidates\}"):
        chat(Nowhere, candidates=3, context="bluemarble")
    with pytest.raises(
        SettingError, match=r"candidates=3 are photos of a training set; name it: --set context=DATASET"
    ):
        chat(Nowhere, prompt="candidates", candidates=3)
    with pytest.raises(SettingError, match=r"has a place for candidates: --set candidates=16 --set context=DATASET"):
        chat(Nowhere, prompt="candidates")


FATAL = {
    "a wrong key": (
        error(401, f"Incorrect key {KEY}", "invalid_api_key"),
        r"the key in OPENAI_API_KEY is not accepted",
    ),
    "no such model": (error(404, "no such model", "model_not_found"), r"knows no such model or address"),
    "no credit": (error(429, "You exceeded your current quota", "insufficient_quota"), r"no credit left"),
    "no temperature": (error(400, "no", "unsupported_value", "temperature"), r"--set send_temperature=false"),
    "another limit": (error(400, "no", "unsupported_parameter", "max_tokens"), r"--set token_limit=max_completion_t"),
    "no schema": (error(400, "no such thing", None, "response_format"), r"--set structured=false"),
}


@pytest.mark.parametrize("what", FATAL)
def test_what_no_request_can_succeed_with_ends_the_run_in_a_line(what):
    said, line = FATAL[what]
    with serving({"*": [said] * 99}) as server, pytest.raises(ServiceError, match=line) as caught:
        evaluate(chat(server, concurrency=1), "bluemarble", limit=30)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    assert len(server.photos) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": 7}, 7.0),
        ({"retry_after_ms": 250, "Retry_After": 7}, 0.25),
        ({"Retry_After": "Fri, 27 Nov 2026 10:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_the_endpoint_says_how_long_to_wait(monkeypatch, headers, seconds):
    waits = []
    monkeypatch.setattr(asking.Questions, "_postpone", lambda self, fault, tries: waits.append(fault.retry_after))
    with serving({0: [error(429, "too fast", **headers)]}) as server:
        assert evaluate(chat(server), "bluemarble", limit=1).statuses == {OK: 1}
    assert waits == [seconds]


def test_the_key_is_in_no_file_no_line_and_no_error(tmp_path, cli, monkeypatch):
    said = error(400, f"key {KEY} may not see this image", "image_denied")
    with serving({1: [said], 2: [error(500, KEY)] * 9}) as server:
        monkeypatch.setenv("GEOBENCH_HOME", str(tmp_path / "home"))
        result = evaluate(chat(server, tries=2), "bluemarble", limit=6)
        result.save(tmp_path / "results")
        assert server.keys == [f"Bearer {KEY}"] * len(server.keys)
    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(texts) > 4
    assert not any(KEY.encode() in text or base64.b64encode(KEY.encode()) in text for text in texts)
    for secret in ("http://me:pw@host/v1", f"https://host/v1?key={KEY}"):
        with pytest.raises(SettingError, match="base_url must hold no key, user or password"):
            chat(server, base_url=secret)


def test_the_variable_of_the_key_changes_no_result():
    with serving() as server:
        first, other = (chat(server, key_env=name) for name in ("OPENAI_API_KEY", "ANOTHER"))
        assert (first.request(), first.stated_config()) == (other.request(), other.stated_config())


def test_without_a_key_one_line_says_which_variable_to_set(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with serving() as server:
        model = chat(server, base_url="https://models.invalid/v1")
        with pytest.raises(ServiceError, match=r"needs a key: set the environment variable OPENAI_API_KEY"):
            evaluate(model, "bluemarble", limit=2)
        evaluate(chat(server), "bluemarble", limit=2)  # on this machine none is needed
        assert server.keys == ["Bearer none"] * 2


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """Return the address of llama.cpp's server with a tiny vision model of random weights."""
    pytest.importorskip("xllamacpp", reason="llama.cpp's server: pip install xllamacpp")
    pytest.importorskip("gguf", reason="writes the model: pip install gguf")
    import tiny_vision_model

    folder = tmp_path_factory.mktemp("llama")
    tiny_vision_model.write_language_model(folder / "tiny.gguf")
    tiny_vision_model.write_vision_tower(folder / "tower.gguf")
    with (folder / "log").open("w") as log:
        command = [sys.executable, tiny_vision_model.__file__, str(folder)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    found = next((re.search(r"http://[\d.]+:\d+", line) for line in server.stdout if line.startswith("http")), None)
    assert found, (folder / "log").read_text()[-2000:]
    yield f"{found[0]}/v1"
    server.kill()
    server.wait()


PROMPT = """
name = "mine"
version = 1
parser = "json"
user = "Where is this? Answer in JSON with latitude and longitude."
max_tokens = 1024
temperature = 0.0
[protocol]
source = "this test"
[schema]
type = "object"
required = ["latitude", "longitude"]
additionalProperties = false
[schema.properties]
latitude = { type = "integer", minimum = -90, maximum = 90 }
longitude = { type = "integer", minimum = -180, maximum = 180 }
"""


def test_a_real_server_answers_by_the_schema_of_a_users_prompt(llama, tmp_path):
    class Real:
        address = llama

    prompt = tmp_path / "mine.toml"
    prompt.write_text(PROMPT)
    results = [evaluate(chat(Real, prompt=str(prompt), run=run), "bluemarble", limit=6) for run in (1, 2)]
    for result in results:
        assert result.statuses == {OK: 6}, list(result.predictions.answers["reason"])
        assert result.service["served"] == "tiny"
        assert result.service["tokens_in"] > 6 * 10
    texts = [list(result.predictions.answers["text"]) for result in results]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 1


def test_what_a_real_server_makes_of_free_words_is_counted_to_the_last_image(llama):
    class Real:
        address = llama

    result = evaluate(chat(Real, prompt="free", max_tokens=16), "bluemarble", limit=6)
    assert sum(result.statuses.values()) == 6
    assert all(result.predictions.answers["reason"][result.predictions.failed])
