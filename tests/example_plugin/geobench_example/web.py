"""A web geolocator as a service: photos go out, positions come back. Any service is as short."""

import json
import urllib.request
from asyncio import to_thread

from geobench import hookimpl
from geobench.services import Rejected, Reply, Service, ServiceConfig
from geobench.settings import setting, settings


@settings
class WebConfig(ServiceConfig):
    """Where the service is; the settings of every service, such as concurrency and samples, come with it."""

    url: str = setting("http://localhost:5000/locate", "address that photos are posted to")


class Web(Service):
    """Posts each photo and reads ``{"lat": 48.86, "lon": 2.35, "confidence": 0.7}``."""

    name = "web"
    summary = "a web service that photos are posted to"
    Config = WebConfig

    async def ask(self, photo, sample):
        """Return the position that the service states; what it raises is retried, and then a status of the photo."""
        request = urllib.request.Request(
            self.config.url, data=photo.jpeg()
        )  # not photo.content, whose metadata may hold the position
        with await to_thread(urllib.request.urlopen, request) as response:
            answer = json.load(response)
        if "lat" not in answer:
            raise Rejected(answer.get("error", "no position"))
        return Reply(coordinates=(answer["lat"], answer["lon"]), confidence=answer.get("confidence"))


@hookimpl
def register_models(register):
    """Tell geobench about the model."""
    register(Web)
