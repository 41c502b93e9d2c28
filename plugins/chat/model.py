"""The chat model: a photo and a prompt go out, words come back, a parser and a geocoder make a position of them."""

from __future__ import annotations

import asyncio
import base64
import os
from contextlib import asynccontextmanager
from functools import cached_property

from geobench.errors import ServiceError
from geobench.services import Reading, Refused, Reply, Service, as_jpeg
from geobench.words.geocoding import geocoder
from geobench.words.parsers import get_parser
from geobench.words.prompts import load_prompt
from geobench.words.reading import read_answer
from geobench_plugins.chat.config import ChatConfig
from geobench_plugins.chat.context import Context, lines

IMAGE_TOKENS = 1105
"""About what a photo counts: 85 and 170 for each of 6 tiles, OpenAI's rule for 1,024 pixels. For estimates alone."""
CHARACTERS_PER_TOKEN = 4
MANY_TOKENS = 4096
"""Taken as the most of an answer without a limit. For estimates alone."""


class Chat(Service):
    """Asks an endpoint of OpenAI's protocol where each photo was taken."""

    name = "chat"
    summary = "any model behind an OpenAI-compatible endpoint, asked in words"
    Config = ChatConfig

    @cached_property
    def prompt(self):
        """Return what is asked."""
        return load_prompt(self.config.prompt)

    @cached_property
    def parser(self):
        """Return how answers are read."""
        return get_parser(self.config.parser or self.prompt.parser)

    def stated_config(self):
        """Return what results are keyed by: by which versions of parser and geocoder, too."""
        read = {"parser": self.parser.label, "geocoder": geocoder()}
        return super().stated_config() | read | self._context_key

    def request(self):
        """Return what is sent besides the photo, and to whom; how an answer is read is no part of it."""
        sent = {name: value for name, value in super().request().items() if name not in ("parser", "prompt")}
        return sent | self._context_key

    @cached_property
    def _context(self):
        return Context(self.config.context, self.config.context_encoder)

    @cached_property
    def _context_key(self):
        config = self.config
        brought = config.candidates or config.examples
        return {"context": self._context.key(config.candidates, config.examples)} if brought else {}

    @classmethod
    def settings_of(cls, argument):
        """Return the settings that ``chat:ARGUMENT`` stands for: those of a TOML file, or the name of a model."""
        return settings_in(argument) if argument.endswith(".toml") else {"model": argument}

    @asynccontextmanager
    async def connected(self):
        """Open the client; the key is read from the environment and is nowhere else."""
        openai = client_library()
        if not self.config.model:
            raise ServiceError("chat needs the name of a model: geobench run --models chat:NAME")
        key = os.environ.get(self.config.key_env, "")
        if not key and not self.config.is_local:
            raise ServiceError(
                f"the endpoint {self.config.base_url} needs a key: set the environment variable {self.config.key_env}, "
                "or name the one that holds it: --set key_env=NAME"
            )
        # The client's own retries would hide how often it asked; its timeout is ours.
        how = {"base_url": self.config.base_url, "timeout": self.config.timeout_s, "max_retries": 0}
        async with openai.AsyncOpenAI(api_key=key or "none", **how) as client:
            self._key, self._client, self._kind = key, client, openai.types.chat.ChatCompletion
            yield

    def prepare(self, photo):
        """Make the JPEG that is sent."""
        photo.jpeg(self.config.image_size, self.config.image_quality)

    async def ask(self, photo, sample):
        """Return the answer in words; what is no answer is a fault of that photo."""
        from geobench_plugins.chat.faults import fault_of

        question = await asyncio.to_thread(self._question, photo, sample)
        try:
            # chat.completions.create would walk through the whole body, photo included: a third of all the work here
            completion = await self._client.post("/chat/completions", body=question, cast_to=self._kind)
            return self._reply(completion)
        except (Refused, ServiceError):
            raise
        except Exception as error:  # whatever an endpoint sends, down to a page of HTML
            fault = fault_of(error, f"chat:{self.config.model}", self.config.key_env)
            raise self._without_key(fault) from None

    def _reply(self, completion):
        """Return the reply in what the endpoint sent, which may be anything.

        Raises:
            Refused: by its filter, or in the field for it.
            ValueError: it is no completion.
        """
        choices = getattr(completion, "choices", None)
        if not choices or getattr(choices[0], "message", None) is None:
            said = " ".join(str(completion).split())[:100]
            raise ValueError(f"not a completion but {said!r}")
        choice, usage = choices[0], completion.usage
        if choice.finish_reason == "content_filter":
            raise Refused("its content filter")
        if getattr(choice.message, "refusal", None):
            raise Refused(choice.message.refusal)
        return Reply(
            text=choice.message.content or "",
            served=completion.model or "",
            tokens_in=getattr(usage, "prompt_tokens", None),
            tokens_out=getattr(usage, "completion_tokens", None),
            finish=choice.finish_reason or "",
        )

    def read(self, reply):
        """Return the position that the answer states or names."""
        claim, place = read_answer(self.parser, reply.text, reply.finish)
        stated = {"level": place.level, "country": place.country, "region": place.region, "city": place.city}
        return Reading(
            *(place.latitude, place.longitude, claim.confidence),
            **stated | {"candidates": place.candidates, "rule": place.rule},
        )

    def expected_tokens(self, photo=None):
        """Return about how many tokens a request sends, and at most how many it is answered."""
        text = len(self.prompt.system) + len(self.prompt.user)
        return text // CHARACTERS_PER_TOKEN + IMAGE_TOKENS, self.config.max_tokens or MANY_TOKENS

    def _question(self, photo, sample):
        """Return the body of a request."""
        config, prompt = self.config, self.prompt
        given, shown = {}, []
        if config.candidates:
            given["candidates"] = lines(self._context.candidates(photo, config.candidates))
        if config.examples:
            examples = self._context.examples(photo, config.examples)
            given["examples"] = lines(position for _, position in examples)
            shown = [self._picture(as_jpeg(image, config.image_size, config.image_quality)) for image, _ in examples]
        system, user = prompt.filled(**given)
        sent = self._picture(photo.jpeg(config.image_size, config.image_quality))
        parts = [{"type": "text", "text": user}, sent]
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": shown + (parts[::-1] if prompt.image_first else parts)})
        body = {"model": config.model, "messages": messages, **prompt.parameters}
        if config.max_tokens is not None:
            body[config.token_limit] = config.max_tokens
        if config.send_temperature and config.temperature is not None:
            body["temperature"] = config.temperature
        if config.seed is not None:
            body["seed"] = config.seed + sample
        if config.structured and prompt.schema:
            named = {"name": "answer", "schema": dict(prompt.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        return body

    def _picture(self, jpeg):
        """Return a JPEG as a part of a message."""
        url = {"url": f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}", "detail": self.config.detail}
        return {"type": "image_url", "image_url": url}

    def _without_key(self, fault):
        """Return ``fault`` with the key struck out: endpoints repeat it in their errors."""
        if self._key and self._key in str(fault):
            fault.args = (str(fault).replace(self._key, "…"),)
        return fault


def settings_in(path):
    """Return the settings in the TOML file ``path``.

    Raises:
        SettingError: there is none, or it is no TOML.
    """
    import tomllib
    from pathlib import Path

    from geobench.errors import SettingError

    try:
        return tomllib.loads(Path(path).expanduser().read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingError(
            f'{path} is no file of settings ({error}); it holds lines such as model = "gpt-4o".'
        ) from error


def client_library():
    """Return the module ``openai``.

    Raises:
        ServiceError: it is not installed; says how.
    """
    try:
        import openai
    except ImportError as error:
        raise ServiceError("chat needs the package openai: pip install 'geobench-geolocalization[chat]'") from error
    return openai
