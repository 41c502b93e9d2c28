"""What a run would do, without doing it: results that are there, trainings, evaluations, requests and their cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from geobench.evaluate import identity_of
from geobench.gallery import gallery_for
from geobench.models import Model, TestSet
from geobench.preflight import Job, Plan
from geobench.progress import SILENT, Progress
from geobench.results import find_kept
from geobench.services import Service
from geobench.services.estimate import estimate


def forecast(jobs: Sequence[Job], plan: Plan, progress: Progress = SILENT) -> list[dict[str, Any]]:
    """Return a row for each evaluation of ``jobs``: what would happen, and what a service would be asked.

    ``requests``, ``tokens_in``, ``tokens_out`` and ``cost`` are None for a model that runs here; ``cost`` also where no
    prices are stated.
    """
    return [row for job in jobs for row in _rows(job, plan, progress)]


def _rows(job: Job, plan: Plan, progress: Progress) -> Iterator[dict[str, Any]]:
    asked = dict.fromkeys(("requests", "tokens_in", "tokens_out", "cost"))
    if job.choice.training is not None:
        for test_set, gallery, seed in job.combinations:
            what = f"train on {job.choice.training['data']} first, then evaluate"
            yield _row(job, test_set, gallery, seed) | {"what": what} | asked
        return
    model = plan.configured(job.choice.spec)
    for test_set, gallery, seed in job.combinations:
        row = _row(job, test_set, gallery, seed) | {"what": "evaluate"} | asked
        drawn = gallery_for(model, test_set.dataset, gallery, seed, progress)
        kept = find_kept(plan.folder, identity_of(model, test_set, drawn, plan.options))
        if kept is not None and not plan.asks_again(model):
            yield row | {"what": f"keep {kept.name}"}
        elif isinstance(model, Service):
            yield row | _asked(model, test_set, plan, progress)
        else:
            yield row


def _row(job: Job, test_set: TestSet, gallery: str | None, seed: int) -> dict[str, Any]:
    return {"model": job.choice.asked, "dataset": test_set.name, "gallery": gallery, "seed": seed, "n": len(test_set)}


def _asked(model: Model, test_set: TestSet, plan: Plan, progress: Progress) -> dict[str, Any]:
    assert isinstance(model, Service)
    found = estimate(model, test_set, plan.options.asking, progress)
    config = model.config
    tokens = "tokens as measured so far" if found.measured else "at most so many tokens"
    return {
        "what": f"ask, {tokens}",
        "requests": found.requests,
        "tokens_in": round(found.tokens_in),
        "tokens_out": round(found.tokens_out),
        "cost": found.cost if config.price_in or config.price_out else None,
    }
