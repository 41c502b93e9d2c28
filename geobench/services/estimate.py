"""What a run would ask and pay, before anything is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geobench.images.digests import read_digests
from geobench.progress import SILENT, Progress
from geobench.services.budget import price_of
from geobench.services.contract import Asking, Service
from geobench.services.log import SETTLED, AnswerLog
from geobench.services.outcomes import read, retried

if TYPE_CHECKING:
    from geobench.models import TestSet


@dataclass(frozen=True)
class Estimate:
    """What is still to be asked.

    Attributes:
        requests: at least; attempts that fail are repeated.
        tokens_in, tokens_out: of these requests; as measured of the answers that are there, else as the model expects,
            where ``tokens_out`` is the most that it may answer.
        measured: whether they are measured.
        cost: by the stated prices; 0 without prices.
    """

    requests: int
    tokens_in: float
    tokens_out: float
    measured: bool
    cost: float


def estimate(model: Service, test_set: TestSet, asking: Asking, progress: Progress = SILENT) -> Estimate:
    """Return what ``model`` would be asked for ``test_set``; every image is read once, none is sent."""
    log = AnswerLog(model)
    log.read()
    photos = {
        digest.tobytes().hex()
        for digest in read_digests(test_set.dataset, test_set.images, "test", progress)
        if digest.any()
    }
    again = retried(asking)
    needed = 0
    for photo in photos:
        for sample in range(model.config.samples):
            entry = log.entries.get((photo, sample))
            needed += entry is None or entry.state not in SETTLED or read(model, entry).status in again
    known = [e.reply for e in log.entries.values() if e.reply.tokens_in is not None and e.reply.tokens_out is not None]
    sent, answered = (
        (np.mean([reply.tokens_in for reply in known]), np.mean([reply.tokens_out for reply in known]))
        if known
        else model.expected_tokens()
    )
    tokens = needed * float(sent), needed * float(answered)
    return Estimate(needed, *tokens, bool(known), price_of(model.config, *tokens))
