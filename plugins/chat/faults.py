"""What errors of an endpoint mean: wait, give this photo up, or end the run."""

from __future__ import annotations

import openai

from geobench.errors import ServiceError
from geobench.services import Busy, Fault, Refused, Rejected

PASSING = (408, 409, 425, 429)
FILTERED = ("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation")
OUT_OF_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
SETTINGS = {
    "temperature": "it takes no temperature: --set send_temperature=false",
    "max_tokens": "it wants another name for the limit: --set token_limit=max_completion_tokens",
    "response_format": "it takes no JSON schema: --set structured=false",
    "seed": "it takes no seed: --set seed=none",
}
"""Parameters that some models do not take; which setting leaves them out."""


def fault_of(error: Exception, model: str, key_env: str) -> Fault | ServiceError:
    """Return what ``error`` of the openai client means for the request.

    Args:
        error: what the client raised.
        model: name of the model, for messages.
        key_env: environment variable of the key, for messages.
    """
    if isinstance(error, openai.APIConnectionError):  # a timeout is one, and may be paid for
        late = isinstance(error, openai.APITimeoutError)
        return Busy(f"no connection to the endpoint ({_first(error.__cause__ or error)})", late=late)
    if not isinstance(error, openai.APIStatusError):
        return Busy(f"the endpoint's answer cannot be read ({_first(error)})", late=True)
    said = f"HTTP {error.status_code}: {_first(error)}"
    if error.code in FILTERED or any(word in said for word in FILTERED):
        return Refused(said)
    if remedy := _remedy(error, key_env):
        return ServiceError(f"{model}: {remedy} ({said}). What was answered is kept.")
    if error.status_code in PASSING or error.status_code >= 500:
        return Busy(said, _retry_after(error))
    return Rejected(said)


def _remedy(error: openai.APIStatusError, key_env: str) -> str:
    """Return what to do about an error that every request will meet; empty for an error of one request."""
    if error.code in OUT_OF_CREDIT:
        return "the account has no credit left"
    if error.status_code in (401, 403):
        return f"the key in {key_env} is not accepted; set that variable, or --set key_env=NAME"
    if error.status_code == 404:
        return "the endpoint knows no such model or address; see base_url and model"
    return SETTINGS.get(str(error.param or "").partition(".")[0], "")


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Return the seconds that the endpoint asks to wait; a date, which is rare, counts as not said."""
    try:
        milliseconds = error.response.headers.get("retry-after-ms")
        return float(milliseconds) / 1000 if milliseconds else float(error.response.headers["retry-after"])
    except (KeyError, ValueError):
        return None


def _first(error: BaseException) -> str:
    """Return the first line of what an error says, at most 200 characters."""
    message = error.message if isinstance(error, openai.APIStatusError) and error.message else str(error)
    lines = str(message).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
