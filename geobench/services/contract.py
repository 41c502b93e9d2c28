"""The contract of a service: a model that is asked for one photo at a time, over a network or in another process."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from geobench.errors import SettingError
from geobench.models import Model
from geobench.settings import setting, settings, stated
from geobench.words.texts import Unparseable

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Photo:
    """One image of a test set, as a service gets it.

    Attributes:
        id: its name in the test set; never sent by geobench, as names may tell the place.
        content: the encoded bytes as they lie on disk, metadata and all: what is sent on may hold the position. Send
            :meth:`jpeg` unless the service is known not to look.
        digest: 32 hexadecimal digits that stand for ``content``.
    """

    id: str
    content: bytes = field(repr=False)
    digest: str
    decode: Callable[[], Image.Image] = field(repr=False)

    @property
    def image(self) -> Image.Image:
        """Return the decoded image, upright RGB.

        Raises:
            ImageError: it cannot be decoded.
        """
        # no cached_property: before Python 3.12 it lets one photo at a time be decoded
        if "_image" not in self.__dict__:
            self.__dict__["_image"] = self.decode()
        image: Image.Image = self.__dict__["_image"]
        return image

    def jpeg(self, size: int | None = None, quality: int = 90) -> bytes:
        """Return the image as JPEG without metadata, its longest side at most ``size`` pixels.

        Raises:
            ImageError: it cannot be decoded.
        """
        made = self.__dict__.setdefault("_jpeg", {})
        if (size, quality) not in made:
            made[size, quality] = as_jpeg(self.image, size, quality)
        jpeg: bytes = made[size, quality]
        return jpeg


def as_jpeg(image: Image.Image, size: int | None = None, quality: int = 90) -> bytes:
    """Return an RGB ``image`` as JPEG without metadata, its longest side at most ``size`` pixels."""
    from PIL import Image

    bare = Image.fromarray(np.asarray(image))
    if size is not None:
        bare.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    bare.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@dataclass(frozen=True)
class Reply:
    """What a service answered to one request; the log keeps it as it is.

    Attributes:
        text: the raw answer, for a service that answers in words.
        coordinates: latitude and longitude in degrees, for a service that answers with a position.
        confidence: stated by the service, 0 to 1; None if it states none.
        served: what the service calls the model that answered, such as a dated snapshot; empty if it does not say.
        tokens_in, tokens_out: as the service counts them; None if it does not say.
        finish: why the answer ended; ``length`` is one that was cut off.
    """

    text: str = ""
    coordinates: tuple[float, float] | None = None
    confidence: float | None = None
    served: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    finish: str = ""

    @property
    def invalid(self) -> str:
        """Return why the answer is none, whatever reads it: it is empty or was cut off; empty text if it is one."""
        if self.finish == "length":
            return "the answer was cut off; allow it more tokens"
        return "" if self.text.strip() or self.coordinates is not None else "the answer is empty"


@dataclass(frozen=True)
class Reading:
    """What was read in a reply.

    Attributes:
        latitude, longitude: in degrees.
        confidence: stated, 0 to 1; None if none is.
        level: the finest level that the answer states: ``coordinates``, ``city``, ``region`` or ``country``.
        country, region, city: in words of the answer's, or of the place found for them; empty if it has none.
        candidates: places that the words may stand for; 1 is unambiguous.
        rule: how the point was chosen.
    """

    latitude: float
    longitude: float
    confidence: float | None = None
    level: str = "coordinates"
    country: str = ""
    region: str = ""
    city: str = ""
    candidates: int = 1
    rule: str = "as stated"


@settings
class ServiceConfig:
    """How a service is asked; what does not change an answer is no part of a result's key."""

    samples: int = setting(1, "answers to each image; their medoid or mode counts", ge=1)
    point: Literal["medoid", "mode"] = setting(
        "medoid",
        "medoid: the answer nearest to all the others together; mode: the one with the most others near it",
    )
    run: int = setting(1, "another number asks everything anew and keeps the answers apart", ge=1)
    concurrency: int = setting(8, "requests under way at a time", ge=1, operational=True)
    tries: int = setting(6, "attempts at a request that fails for a passing reason", ge=1, operational=True)
    timeout_s: float = setting(120.0, "seconds until an attempt counts as failed", gt=0, operational=True)
    price_in: float = setting(0.0, "price of a million tokens sent", ge=0, operational=True)
    price_out: float = setting(0.0, "price of a million tokens answered", ge=0, operational=True)


class Service(Model):
    """A model that is asked for one photo at a time: subclass it with a ``name`` and the coroutine ``ask``.

    Concurrency, retries, the log of answers, statuses and budgets are the harness's: an answer that is in the log is
    never asked for again. The result for an image must depend on that image alone.
    """

    Config: ClassVar[type[Any]] = ServiceConfig
    input: ClassVar[Literal["features", "images", "none", "photos"]] = "photos"
    uses_gallery = False
    trainable = False

    @abstractmethod
    async def ask(self, photo: Photo, sample: int) -> Reply:
        """Return the reply of the service to one request: answer number ``sample``, from 0, to ``photo``.

        Raises:
            Busy: a passing failure; the request is tried again.
            Refused: the service does not answer for this photo, such as by its content filter.
            Rejected: the service does not take this request, and would not the next time.
            ServiceError: no request can succeed: a wrong key, no such model. The run ends.
        """

    def prepare(self, photo: Photo) -> None:
        """Do what takes the processor's time, such as decoding; called in a thread, while others are asked for.

        Raises:
            ImageError: the image cannot be decoded.
        """

    def read(self, reply: Reply) -> Reading:
        """Return the position in ``reply``; nothing is asked, so that a kept reply can be read in another way.

        Raises:
            Refusal: the reply declines to answer.
            Unparseable: it states no position that can be read.
        """
        if reply.coordinates is None:
            raise Unparseable("it has no position")
        return Reading(*reply.coordinates, confidence=reply.confidence)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Open what ``ask`` needs, such as a client, and close it afterwards; called once for each event loop."""
        yield

    def request(self) -> dict[str, Any]:
        """Return what a request depends on besides the photo: replies to equal requests are in one log."""
        without = {"samples", "point"}
        return {name: value for name, value in stated(self.config).items() if name not in without}

    def expected_tokens(self, photo: Photo | None = None) -> tuple[int, int]:
        """Return about how many tokens a request sends and at most how many it is answered: for estimates of cost."""
        return 0, 0

    def stated_config(self) -> dict[str, Any]:
        """Return what results are keyed by: the settings that answers depend on, what answered, and since which day."""
        from geobench.services.log import AnswerLog

        about = AnswerLog(self).about()
        return super().stated_config() | {"served": about.get("served", ""), "since": about.get("since", "")}

    def predict(self, images: Any, gallery: Any, top_k: int = 1) -> Any:
        """Not for a service: it is asked for photos, not decoded images."""
        raise TypeError(f"{self.name} is a service: geobench.evaluate asks it for each photo of a test set.")


@dataclass(frozen=True)
class Asking:
    """What a run may ask of services.

    Attributes:
        retry: replies that are asked for again: ``errors``, ``refused``, ``unparseable``.
        max_requests: requests that may be sent, retries included; None for any number.
        max_cost: what they may cost, by the stated prices; None for any amount.
    """

    retry: tuple[str, ...] = ()
    max_requests: int | None = None
    max_cost: float | None = None

    RETRIES: ClassVar[tuple[str, ...]] = ("errors", "refused", "unparseable")

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        for which in self.retry:
            if which not in self.RETRIES:
                raise SettingError(f"retry must be one of {', '.join(self.RETRIES)}, not {which!r}.")
        for name in ("max_requests", "max_cost"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise SettingError(f"{name} must be above 0, not {value}.")
