"""Services: every answer kept, none asked for twice, every fault a status; whatever is killed, and when."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from geobench import Options, evaluate, get_dataset, run
from geobench.errors import ServiceError, SettingError, StorageError
from geobench.predictions import OK, REFUSED, SERVICE, UNPARSEABLE, UNREADABLE
from geobench.results import load_result
from geobench.services import Asking, Busy, Photo, Refused, Rejected, Reply, Service, ServiceConfig, asking
from geobench.services.budget import BudgetError
from geobench.services.log import AnswerLog
from geobench.services.samples import agreement

PLACE = (48.85, 2.35)


class Oracle(Service):
    """Answers as ``script`` says for each image; every request is counted."""

    name = "oracle"
    script: ClassVar = {}
    asked: ClassVar = Counter()
    at_a_time = most_at_a_time = 0

    async def ask(self, photo, sample):
        type(self).asked[photo.id] += 1
        type(self).at_a_time += 1
        type(self).most_at_a_time = max(self.most_at_a_time, self.at_a_time)
        await asyncio.sleep(0.001)
        type(self).at_a_time -= 1
        does = self.script.get(photo.id, self.script.get("*"))
        if isinstance(does, list):
            does = does.pop(0)
        if isinstance(does, BaseException):
            raise does
        return does or Reply(coordinates=PLACE, served="oracle-1", tokens_in=100, tokens_out=10)


@pytest.fixture
def oracle(monkeypatch):
    """Return the class of a service with an empty script; waits between attempts are short."""
    monkeypatch.setattr(asking, "BACKOFF_S", 0.001)
    monkeypatch.setattr(Oracle, "script", {})
    monkeypatch.setattr(Oracle, "asked", Counter())
    monkeypatch.setattr(Oracle, "most_at_a_time", 0)
    return Oracle


def of(oracle, **settings):
    return oracle(ServiceConfig(**settings))


def names(n):
    return list(get_dataset("bluemarble").table("test", n)["image"])


def test_a_service_answers_every_image_and_is_never_asked_twice(oracle):
    first = evaluate(of(oracle), "bluemarble", limit=12)
    assert oracle.asked == Counter(names(12))
    assert (first.statuses, first.failed) == ({OK: 12}, 0)
    np.testing.assert_array_equal(first.predictions.coordinates, np.tile(PLACE, (12, 1, 1)))
    again = evaluate(of(oracle), "bluemarble", limit=12)
    assert oracle.asked == Counter(names(12))
    assert again.key == first.key
    more = evaluate(of(oracle), "bluemarble", limit=15)
    assert oracle.asked == Counter(names(15))
    assert more.service["requests"] == 15


def test_as_many_requests_are_under_way_as_asked_for(oracle):
    evaluate(of(oracle, concurrency=3), "bluemarble", limit=12)
    assert oracle.most_at_a_time == 3


FAULTS = {
    "busy, then an answer": ([Busy("429"), Busy("503"), None], OK, 3),
    "busy for ever": (Busy("HTTP 503: overloaded"), SERVICE, 4),
    "refused": (Refused("its content filter"), REFUSED, 1),
    "rejected": (Rejected("HTTP 400: context too long"), SERVICE, 1),
    "no connection": (ConnectionResetError("reset"), SERVICE, 4),
    "a mistake of the plugin": (ZeroDivisionError("oh"), SERVICE, 1),
    "half an answer": ([ValueError("Expecting ',' delimiter"), None], OK, 2),
    "empty": (Reply(text="  "), UNPARSEABLE, 1),
    "cut off": (Reply(text="It is in", finish="length"), UNPARSEABLE, 1),
    "words": (Reply(text="somewhere nice"), UNPARSEABLE, 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_the_status_of_its_image_and_no_other(oracle, fault):
    does, status, requests = FAULTS[fault]
    images = names(8)
    oracle.script[images[3]] = does
    result = evaluate(of(oracle, tries=4), "bluemarble", limit=8)
    assert sum(result.statuses.values()) == 8
    found = dict(zip(images, result.predictions.status, strict=True))
    assert found.pop(images[3]) == status
    assert set(found.values()) == {OK}
    assert oracle.asked == Counter(images) + Counter({images[3]: requests - 1})
    assert result.failed == (status != OK)


def reader(read, pause_s=0.0):
    """Return a function that reads the photo of a name, and notes that in ``read``."""

    def photo(name):
        time.sleep(pause_s)
        read.append(name)
        return Photo(name, name.encode(), name, lambda: Image.new("RGB", (8, 8)))

    return photo


def test_a_few_photos_are_read_ahead_in_their_order(oracle, own_home, monkeypatch):
    read, ahead, prepared = [], [], []

    async def ask(self, photo, sample, before=oracle.ask):
        reply = await before(self, photo, sample)
        ahead.append(len(read) - sum(oracle.asked.values()))
        return reply

    monkeypatch.setattr(oracle, "ask", ask)
    monkeypatch.setattr(oracle, "prepare", lambda self, photo: prepared.append(photo.id))
    wanted = [f"{number:032x}" for number in range(60)]
    asking.Questions(of(oracle, concurrency=3), wanted, reader(read)).ask()
    assert sorted(read) == sorted(prepared) == wanted
    assert 1 < max(ahead) <= asking.AHEAD
    asking.Questions(of(oracle, concurrency=3), wanted, reader(read)).ask()
    assert len(prepared) == 60, "what is in the log is not decoded again"


def test_an_error_ends_the_run_also_while_workers_wait_for_photos(oracle, own_home, monkeypatch):
    monkeypatch.setattr(asking, "GRACE_S", 3600.0)
    wanted = [f"{number:032x}" for number in range(40)]
    oracle.script[wanted[0]] = ServiceError("no such model")
    questions = asking.Questions(of(oracle, concurrency=30), wanted, reader([], pause_s=0.05))
    ended = []

    def ask():
        with pytest.raises(ServiceError, match="no such model") as caught:
            questions.ask()
        ended.append(caught)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout=60)
    assert ended


def test_the_reason_for_no_answer_is_kept_and_read_again(oracle, tmp_path):
    oracle.script[names(4)[1]] = Refused("it shows a child")
    path = evaluate(of(oracle), "bluemarble", limit=4).save(tmp_path)
    result = load_result(path, predictions=True)
    assert list(result.predictions.answers["reason"]) == ["", "it shows a child", "", ""]
    assert list(result.predictions.answers["tokens_in"][[0, 2]]) == [100, 100]
    assert result.statuses == {OK: 3, REFUSED: 1}
    assert result.service["served"] == "oracle-1"


def test_raw_answers_come_back_as_they_were(oracle, tmp_path):
    text = 'a "quoted", comma\nand lines\r\nof tëxt 日本 \t=1+1'
    oracle.script["*"] = Reply(text=text, coordinates=PLACE)
    path = evaluate(of(oracle), "bluemarble", limit=2).save(tmp_path)
    assert list(load_result(path, predictions=True).predictions.answers["text"]) == [text] * 2


def test_copies_of_a_photo_are_one_request(oracle, photos, cli):
    images, metadata = photos(8)
    for number in range(1, 8):
        (images / f"photo-{number}.jpg").write_bytes((images / "photo-0.jpg").read_bytes())
    cli("datasets", "add", "mine", "--images", str(images), "--metadata", str(metadata))
    result = evaluate(of(oracle, concurrency=8), "mine")
    assert sum(oracle.asked.values()) == 1
    assert result.statuses == {OK: 8}


def test_an_unreadable_image_is_not_sent(oracle, photos, cli):
    images, metadata = photos(4)
    (images / "photo-2.jpg").write_bytes(b"")
    cli("datasets", "add", "mine", "--images", str(images), "--metadata", str(metadata))
    (images / "photo-2.jpg").unlink()
    result = evaluate(of(oracle), "mine")
    assert dict(oracle.asked) == {f"photo-{n}.jpg": 1 for n in (0, 1, 3)}
    assert result.statuses == {OK: 3, UNREADABLE: 1}


def test_an_image_that_the_service_cannot_decode_is_one_more_status(oracle, photos, cli, monkeypatch):
    async def ask(self, photo, sample, before=oracle.ask):
        photo.jpeg(32)
        return await before(self, photo, sample)

    monkeypatch.setattr(oracle, "ask", ask)
    images, metadata = photos(4)
    cli("datasets", "add", "mine", "--images", str(images), "--metadata", str(metadata))
    for number in (1, 2):  # copies: one of them waits for the other's request
        (images / f"photo-{number}.jpg").write_bytes(b"no photo")
    result = evaluate(of(oracle, concurrency=2), "mine")
    assert result.statuses == {OK: 2, UNREADABLE: 2}
    assert result.predictions.answers["reason"][1] == "photo-1.jpg: is of an unknown format, which cannot be read"


@pytest.mark.parametrize(
    ("retry", "asked"),
    [((), 0), (("errors",), 2), (("refused",), 1), (("unparseable",), 2), (("errors", "refused"), 3)],
)
def test_retry_asks_again_what_it_names_and_nothing_else(oracle, retry, asked):
    images = names(8)
    bad = [Busy("503"), Rejected("400"), Refused("no"), Reply(text="?"), Reply()]
    oracle.script |= dict(zip(images, bad, strict=False))
    evaluate(of(oracle, tries=1), "bluemarble", limit=8)
    oracle.asked.clear()
    oracle.script.clear()
    model = of(oracle, tries=1)
    result = evaluate(model, "bluemarble", options=Options(asking=Asking(retry=retry)), limit=8)
    # what was lost to a passing failure is asked for whenever a run needs it
    assert sum(oracle.asked.values()) == (asked if "errors" in retry else asked + 1)
    assert result.statuses[OK] == 3 + sum(oracle.asked.values())


@pytest.mark.parametrize("reply", [Reply(), Reply(text=" \n"), Reply(coordinates=PLACE, finish="length")])
def test_an_empty_or_cut_answer_is_no_answer_whatever_could_be_read_in_it(oracle, reply):
    oracle.script["*"] = reply
    assert evaluate(of(oracle), "bluemarble", limit=2).statuses == {UNPARSEABLE: 2}


def test_of_two_answers_to_one_request_the_later_counts(oracle):
    oracle.script[names(3)[1]] = [Busy("away"), None, None]
    first = evaluate(of(oracle, tries=1), "bluemarble", limit=3)
    assert first.statuses == {OK: 2, SERVICE: 1}
    for _ in range(2):
        again = evaluate(of(oracle, tries=1), "bluemarble", limit=3)
        assert again.statuses == {OK: 3}
    assert sum(oracle.asked.values()) == 4


def test_a_limit_on_requests_ends_the_run_and_the_same_command_goes_on(oracle):
    with pytest.raises(BudgetError, match=r"oracle: 5 requests are sent, the limit of this run\. What was answered"):
        evaluate(of(oracle), "bluemarble", options=Options(asking=Asking(max_requests=5)), limit=12)
    assert sum(oracle.asked.values()) == 5
    evaluate(of(oracle), "bluemarble", limit=12)
    assert oracle.asked == Counter(names(12))


def test_a_limit_on_cost_is_not_exceeded_by_what_is_under_way(oracle):
    prices = {"price_in": 10.0, "price_out": 100.0, "concurrency": 4}  # 0.002 a request
    evaluate(of(oracle, **prices), "bluemarble", limit=1)
    with pytest.raises(BudgetError, match=r"0\.0\d+ is spent, and another request .* could exceed the limit of 0\.011"):
        evaluate(of(oracle, **prices), "bluemarble", options=Options(asking=Asking(max_cost=0.011)), limit=40)
    assert 2 <= sum(oracle.asked.values()) - 1 <= 5 + 3  # the first few before any price is known
    with pytest.raises(SettingError, match="a limit on cost needs the prices of oracle per million tokens"):
        evaluate(of(oracle), "bluemarble", options=Options(asking=Asking(max_cost=1)), limit=2)


def test_costs_and_times_are_in_the_record(oracle):
    result = evaluate(of(oracle, price_in=10.0, price_out=100.0), "bluemarble", limit=4)
    assert result.service["cost"] == pytest.approx(4 * 0.002)
    assert (result.service["tokens_in"], result.service["tokens_out"]) == (400, 40)
    assert 0 < result.service["seconds_50"] <= result.service["seconds_95"]
    assert "price_in" not in result.config


def test_prices_and_concurrency_change_no_key_and_samples_do(oracle):
    for_people = {"price_in": 1.0, "price_out": 1.0, "concurrency": 2, "tries": 3, "timeout_s": 60.0}
    keys = [evaluate(of(oracle, **s), "bluemarble", limit=2).key for s in ({}, for_people)]
    assert keys[0] == keys[1]
    assert evaluate(of(oracle, samples=2), "bluemarble", limit=2).key != keys[0]
    assert sum(oracle.asked.values()) == 4  # the first sample was there


def test_a_service_that_is_away_ends_the_run_and_counts_nothing(oracle):
    oracle.script["*"] = Busy("HTTP 502: bad gateway")
    with pytest.raises(ServiceError, match=r"the last 20 requests to oracle failed, the last in 2 attempts: HTTP 502"):
        evaluate(of(oracle, tries=2, concurrency=4), "bluemarble", limit=40)
    oracle.script.clear()
    assert evaluate(of(oracle), "bluemarble", limit=40).statuses == {OK: 40}


def test_a_service_that_takes_no_request_at_all_ends_the_run(oracle):
    oracle.script["*"] = Rejected("HTTP 400: unknown field")
    with pytest.raises(ServiceError, match=r"oracle took none of the first 20 requests: HTTP 400: unknown field"):
        evaluate(of(oracle), "bluemarble", limit=40)


def test_all_wait_as_long_as_the_service_asks(oracle, monkeypatch):
    slept = []
    real = asyncio.sleep

    async def sleep(seconds):
        slept.append(seconds)
        await real(0.001)

    images = names(6)
    oracle.script[images[0]] = [Busy("429", retry_after=0.05), None]
    monkeypatch.setattr(asking.asyncio, "sleep", sleep)
    evaluate(of(oracle, concurrency=1), "bluemarble", limit=6)
    assert sum(1 for seconds in slept if 0.001 < seconds <= 0.05) > 3
    oracle.script[names(7)[6]] = Busy("429", retry_after=3600.0)
    with pytest.raises(ServiceError, match=r"asks to wait 3,600 s"):
        evaluate(of(oracle), "bluemarble", limit=7)


def test_another_model_under_the_same_name_is_not_mixed_in(oracle):
    evaluate(of(oracle), "bluemarble", limit=2)
    oracle.script["*"] = Reply(coordinates=PLACE, served="oracle-2")
    with pytest.raises(
        ServiceError, match=r"has answered as oracle-1 since 20\d\d-.*now answers as oracle-2.*--set run=2"
    ):
        evaluate(of(oracle), "bluemarble", limit=4)
    result = evaluate(of(oracle, run=2), "bluemarble", limit=4)
    assert (result.config["served"], result.statuses) == ("oracle-2", {OK: 4})


def test_a_kept_result_is_found_by_what_answered(oracle, register, tmp_path):
    register("model", oracle)
    results = [run("oracle", "bluemarble", limit=3, folder=tmp_path).results[0] for _ in range(2)]
    assert results[0].key == results[1].key
    assert len(list(tmp_path.glob("*.json"))) == 1
    assert sum(oracle.asked.values()) == 3


def test_samples_are_asked_apart_and_their_medoid_counts(oracle):
    image = names(1)[0]
    points = [(10.0, 10.0), (48.0, 2.0), (48.01, 2.0), (48.0, 2.1), (-30.0, 100.0)]
    oracle.script[image] = [Reply(coordinates=point) for point in points]
    result = evaluate(of(oracle, samples=5, concurrency=1), "bluemarble", limit=1)
    assert tuple(result.predictions.coordinates[0, 0]) in points[1:4]
    assert result.predictions.scores[0, 0] == pytest.approx(3 / 5)
    assert result.predictions.answers["spread_km"][0] > 1000


@pytest.mark.parametrize(
    ("rule", "points", "chosen"),
    [
        ("medoid", [(0, 0), (0, 1), (0, 2)], 1),
        ("medoid", [(0, 0), (0, 0.1), (0, 20), (0, 25), (0, 30)], 2),
        ("mode", [(0, 0), (0, 0.1), (0, 20), (0, 25), (0, 30)], 1),
        ("mode", [(0, 179.9), (0, -179.9), (0, 90)], 0),
    ],
)
def test_the_point_of_several_answers(rule, points, chosen):
    assert agreement(np.array(points, dtype=float), rule).chosen == chosen


def test_answers_within_25_km_agree():
    points = np.array([(0.0, 0.0), (0.0, 0.22), (0.0, 0.44)])  # 24.5 and 48.9 km from the first
    assert (agreement(points, "medoid").near, agreement(points[[0, 2]], "medoid").near) == (3, 1)
    assert agreement(points, "mode").spread_km == pytest.approx(24.5, abs=0.1)


def test_a_half_written_line_is_no_answer(oracle):
    model = of(oracle)
    evaluate(model, "bluemarble", limit=3)
    log = AnswerLog(model)
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-30])
    evaluate(model, "bluemarble", limit=3)
    assert sum(oracle.asked.values()) == 4
    assert [json.loads(line)["state"] for line in log.path.read_text().splitlines()] == ["answered"] * 3


def test_a_damaged_line_is_named(oracle):
    model = of(oracle)
    evaluate(model, "bluemarble", limit=3)
    log = AnswerLog(model)
    lines = log.path.read_text().splitlines(keepends=True)
    log.path.write_text(lines[0] + "???\n" + lines[2])
    with pytest.raises(StorageError, match=r"line 2 of .*answers\.jsonl is damaged .*delete that line"):
        evaluate(model, "bluemarble", limit=3)


KILLED = """
import asyncio, os, random, signal, sys, threading
from geobench.services import Photo, Reply, Service, ServiceConfig
from geobench.services.asking import Questions

class Slow(Service):
    name = "slow"
    async def ask(self, photo, sample):
        await asyncio.sleep(0.002)
        with open({asked!r}, "a") as file:
            file.write(photo.id + "\\n")
        return Reply(coordinates=(1.0, 2.0))

if int(sys.argv[1]):
    delay = random.Random(int(sys.argv[1])).uniform(0.0, 0.1)
    threading.Timer(delay, lambda: os.kill(os.getpid(), getattr(signal, sys.argv[2]))).start()
names = [str(number) for number in range(300)]
entries = Questions(Slow(ServiceConfig(concurrency=4)), names, lambda name: Photo(name, b"", name, None)).ask()
assert [len(each) for each in entries] == [1] * 300
"""


@pytest.mark.parametrize(("how", "lost_at_most"), [("SIGKILL", 4), ("SIGINT", 0)])
def test_whenever_it_is_stopped_what_is_in_the_log_is_never_asked_for_again(tmp_path, how, lost_at_most):
    asked, script, home = tmp_path / "asked", tmp_path / "script.py", tmp_path / "home"
    asked.touch()
    script.write_text(KILLED.format(asked=str(asked)))
    lost = 0
    for attempt in [*range(1, 31 if "GEOBENCH_SLOW_TESTS" in os.environ else 9), 0]:
        sent, known = count(asked), sum(map(count, home.glob("answers/*/answers.jsonl")))
        command, environment = [sys.executable, script, str(attempt), how], os.environ | {"GEOBENCH_HOME": str(home)}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == 0 or attempt, done.stderr[-2000:]
        under_way = count(asked) - sent - (sum(map(count, home.glob("answers/*/answers.jsonl"))) - known)
        assert 0 <= under_way <= lost_at_most  # Ctrl-C waits for what is under way, which will be paid for
        lost += under_way
    (log,) = home.glob("answers/*/answers.jsonl")
    photos = [json.loads(line)["photo"] for line in log.read_text().splitlines()]
    assert len(photos) == len(set(photos)) == 300
    assert count(asked) == 300 + lost


def count(path):
    return path.read_bytes().count(b"\n")
