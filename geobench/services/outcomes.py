"""From the entries of a log to predictions with a status each, and to what the answers took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from geobench.predictions import ANSWER_TEXTS, OK, SERVICE, UNPARSEABLE, UNREADABLE, Predictions
from geobench.predictions import REFUSED as DECLINED
from geobench.services.budget import cost_of
from geobench.services.contract import Asking, Reading, Service
from geobench.services.log import ANSWERED, ERROR, INVALID, REFUSED, REJECTED, AnswerLog, Entry
from geobench.services.samples import agreement
from geobench.words.texts import Refusal, Unparseable

STATUS = {REFUSED: DECLINED, REJECTED: SERVICE, ERROR: SERVICE, INVALID: UNPARSEABLE, UNREADABLE: UNREADABLE}
"""The status of an image whose request has one of these states."""
RETRIED = {"errors": SERVICE, "refused": DECLINED, "unparseable": UNPARSEABLE}
"""The status that each value of ``--retry`` means."""
NUMBERS = (
    *("confidence", "candidates", "samples", "agreeing", "spread_km"),
    *("requests", "seconds", "tokens_in", "tokens_out", "cost"),
)
"""What a predictions file states of each answer besides its texts, each in a column ``answer_NAME``."""


def predictions_of(model: Service, entries: Sequence[Sequence[Entry]]) -> Predictions:
    """Return one prediction for each image, with its status and what is known of its answer.

    The score is the share of the image's samples that agree with the point; of a single answer the confidence that it
    states, or 1.

    Args:
        model: reads the replies; nothing is asked.
        entries: of each of the n images, at least one.
    """
    found = [_outcome(model, each) for each in entries]
    status = np.array([outcome["status"] for outcome in found], dtype=object)
    point = np.array([outcome["point"] for outcome in found], dtype=np.float64).reshape(len(found), 1, 2)
    score = np.array([outcome["score"] for outcome in found], dtype=np.float64).reshape(len(found), 1)
    answers: dict[str, Any] = {
        name: np.array([outcome.get(name, "") for outcome in found], dtype=object) for name in ANSWER_TEXTS
    }
    answers |= {name: np.array([outcome.get(name, np.nan) for outcome in found], dtype=np.float64) for name in NUMBERS}
    return Predictions(point, score, status != OK, status, answers)


def _outcome(model: Service, entries: Sequence[Entry]) -> dict[str, Any]:
    """Return status, point, score and details of one image."""
    outcomes = [read(model, entry) for entry in entries]
    readings = [
        (entry, each.reading) for entry, each in zip(entries, outcomes, strict=True) if each.reading is not None
    ]
    taken = _taken(model, entries)
    if not readings:
        statuses = [each.status for each in outcomes]
        status, _ = Counter(statuses).most_common(1)[0]
        first = statuses.index(status)
        failed = {"status": status, "point": (np.nan, np.nan), "score": np.nan, "reason": outcomes[first].reason}
        return taken | failed | {"text": plain(entries[first].reply.text)}
    points = np.array([(reading.latitude, reading.longitude) for _, reading in readings])
    agreed = agreement(points, model.config.point)
    entry, reading = readings[agreed.chosen]
    single = 1.0 if reading.confidence is None else reading.confidence
    stated = {name: getattr(reading, name) for name in ("level", "country", "region", "city", "rule", "candidates")}
    confidence = np.nan if reading.confidence is None else reading.confidence
    return (
        taken
        | stated
        | {
            "status": OK,
            "point": points[agreed.chosen],
            "score": agreed.near / len(entries) if len(entries) > 1 else single,
            "text": plain(entry.reply.text),
            "confidence": confidence,
            "agreeing": agreed.near,
            "spread_km": agreed.spread_km if len(readings) > 1 else np.nan,
        }
    )


def plain(text: str) -> str:
    """Return ``text`` without what a table of text cannot hold: half characters and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "�")


class Outcome(NamedTuple):
    """What one reply is: its status, the position in it if there is one, and otherwise why there is none."""

    status: str
    reading: Reading | None = None
    reason: str = ""


def read(model: Service, entry: Entry) -> Outcome:
    """Return what ``entry`` is once its reply is read: a refusal, or no position, may be in words."""
    if entry.state != ANSWERED:
        return Outcome(STATUS[entry.state], None, entry.reason)
    try:
        return Outcome(OK, model.read(entry.reply))
    except Refusal as fault:
        return Outcome(DECLINED, None, str(fault))
    except Unparseable as fault:
        return Outcome(UNPARSEABLE, None, str(fault))


def retried(asking: Asking) -> set[str]:
    """Return the statuses of images that are asked for again."""
    return {RETRIED[which] for which in asking.retry}


def _taken(model: Service, entries: Sequence[Entry]) -> dict[str, Any]:
    """Return what the replies to one image took; NaN for what the service does not say of all."""

    def total(values: Sequence[float | None]) -> float:
        stated = [value for value in values if value is not None]
        return float(sum(stated)) if len(stated) == len(values) else np.nan

    replies = [entry.reply for entry in entries if entry.state in (ANSWERED, INVALID)]
    costs = [cost_of(model.config, reply) for reply in replies]
    return {
        "samples": float(len(entries)),
        "seconds": sum(entry.seconds for entry in entries),
        "tokens_in": total([reply.tokens_in for reply in replies]),
        "tokens_out": total([reply.tokens_out for reply in replies]),
        "cost": total(costs) if priced(model) else np.nan,
        "requests": float(sum(entry.tries for entry in entries if entry.at)),
        "at": max((entry.at for entry in entries), default=""),
    }


def summary_of(model: Service, predictions: Predictions) -> dict[str, Any]:
    """Return who answered and what the answers took: a part of the record, not of the key.

    ``unstated`` counts images whose tokens the service did not say; ``tokens_in``, ``tokens_out`` and ``cost`` are sums
    over the others. ``seconds_50`` and ``seconds_95`` are percentiles over the images that were answered.
    """
    columns = predictions.answers or {}
    seconds = columns["seconds"][~predictions.failed]
    times = sorted(filter(None, columns["at"]))
    about = AnswerLog(model).about()
    return {
        "request": about.get("request", {}),
        "served": about.get("served", ""),
        "first": times[0] if times else "",
        "last": times[-1] if times else "",
        "requests": int(columns["requests"].sum()),
        "unstated": int(np.isnan(columns["tokens_in"]).sum()),
        "tokens_in": float(np.nansum(columns["tokens_in"])),
        "tokens_out": float(np.nansum(columns["tokens_out"])),
        "price_in": model.config.price_in,
        "price_out": model.config.price_out,
        "cost": float(np.nansum(columns["cost"])) if priced(model) else None,
        "seconds_50": float(np.percentile(seconds, 50)) if len(seconds) else None,
        "seconds_95": float(np.percentile(seconds, 95)) if len(seconds) else None,
    }


def priced(model: Service) -> bool:
    """Return whether the prices of the service's tokens are stated."""
    return bool(model.config.price_in or model.config.price_out)
