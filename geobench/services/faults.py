"""What may become of a request to a service, other than an answer."""

from __future__ import annotations

from geobench.words.texts import Refusal


class Fault(Exception):  # noqa: N818  of an image, not an error of the user's
    """A request without an answer; the reason is one line for the record of that image."""


class Busy(Fault):
    """A passing failure: too many requests, an overloaded or absent server, a timeout. It is tried again.

    Attributes:
        retry_after: seconds that the service asks to wait; None if it does not say.
        late: the request was sent and may be paid for.
        again: False for what would hardly pass within this run.
    """

    def __init__(
        self, reason: str, retry_after: float | None = None, *, late: bool = False, again: bool = True
    ) -> None:
        super().__init__(reason)
        self.retry_after, self.late, self.again = retry_after, late, again


class Refused(Fault, Refusal):
    """The service declines to answer for this photo: a content filter, a field for refusals."""


class Rejected(Fault):
    """The service does not take this request and would not the next time: an image too large, a context too long."""
