"""Services: models that are asked for one photo at a time, with a log of answers, retries, budgets and statuses."""

from geobench.services.contract import Asking, Photo, Reading, Reply, Service, ServiceConfig, as_jpeg
from geobench.services.faults import Busy, Fault, Refused, Rejected
from geobench.words.texts import Refusal, Unparseable

__all__ = [
    "Asking",
    "Busy",
    "Fault",
    "Photo",
    "Reading",
    "Refusal",
    "Refused",
    "Rejected",
    "Reply",
    "Service",
    "ServiceConfig",
    "Unparseable",
    "as_jpeg",
]
