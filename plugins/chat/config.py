"""The settings of a chat model, and what is refused before anything is asked."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from geobench.services import ServiceConfig
from geobench.settings import setting, settings
from geobench.words.prompts import load_prompt
from geobench_plugins.chat.context import check

LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0")


@settings
class ChatConfig(ServiceConfig):
    """What is asked, of which model, how."""

    model: str = setting("", "name that the endpoint knows the model by; chat:NAME sets it")
    base_url: str = setting("https://api.openai.com/v1", "address of the endpoint, up to and without /chat/completions")
    key_env: str = setting("OPENAI_API_KEY", "environment variable that holds the key", operational=True)
    prompt: str = setting("json", "a prompt that comes with geobench, or a TOML file of your own")
    prompt_digest: str = setting("", "what the prompt says; found out when it is named")
    parser: str = setting("", "how answers are read: json, country-city, lat-lon or free; empty: the prompt's own way")
    samples: int | None = setting(None, "answers to each photo; their medoid or mode counts; none: the prompt's", ge=1)
    temperature: float | None = setting(None, "none: the prompt's", ge=0)
    send_temperature: bool = setting(True, "false for a model that takes none")
    max_tokens: int | None = setting(None, "most tokens of an answer; none: the prompt's", ge=1)
    token_limit: Literal["max_tokens", "max_completion_tokens"] = setting(
        "max_tokens", "what the endpoint calls it; OpenAI's reasoning models take the second"
    )
    structured: bool = setting(True, "ask the endpoint to enforce the prompt's JSON schema, if it has one")
    seed: int | None = setting(None, "sent with each request, plus the number of the sample; none: not sent")
    image_size: int = setting(1024, "longest side in pixels that photos are reduced to", ge=16)
    image_quality: int = setting(90, "quality of the JPEG that is sent; it has no metadata", ge=1, le=100)
    candidates: int = setting(
        0, "positions of similar training photos in the question, where the prompt has {candidates}", ge=0
    )
    examples: int = setting(0, "training photos that precede the question, where the prompt has {examples}", ge=0)
    context: str = setting("", "training set of candidates and examples")
    context_encoder: str = setting("", "encoder by which photos are similar; empty: the training set's")
    detail: Literal["auto", "low", "high"] = setting("auto", "how closely the model looks, where it has the choice")

    def __post_init__(self) -> None:
        """Find out what the prompt says, and refuse an address with a secret in it: it would be in every record."""
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"base_url must be an address such as http://localhost:8080/v1, not {self.base_url!r}")
        if parts.username or parts.password or parts.query:
            raise ValueError("base_url must hold no key, user or password; name an environment variable: key_env=NAME")
        prompt = load_prompt(self.prompt)
        found = {"prompt_digest": prompt.digest, "parser": self.parser or prompt.parser}
        for name in ("samples", "temperature", "max_tokens"):
            found[name] = getattr(prompt, name) if getattr(self, name) is None else getattr(self, name)
        check(prompt, self.candidates, self.examples, self.context)
        for name, value in found.items():  # what is in effect, for the record
            object.__setattr__(self, name, value)

    @property
    def is_local(self) -> bool:
        """Return whether the endpoint is on this machine, where a key is usually not needed."""
        return urlsplit(self.base_url).hostname in LOCAL
