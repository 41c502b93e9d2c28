"""What a prompt's TOML may hold, and reading it: one that comes with geobench by its name, a user's own by its path."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Required

from annotated_types import Ge, MinLen
from typing_extensions import TypedDict

from geobench.errors import SettingError, unknown_name
from geobench.settings.declarations import validate
from geobench.words.parsers import get_parser

FOLDER = Path(__file__).parent
PLACEHOLDERS = {
    "candidates": "positions of the nearest training photos, a line each: latitude, longitude",
    "examples": "positions of example photos that precede the question, a line each: latitude, longitude",
}
"""What a prompt may leave open, in braces; it is filled for each photo."""
_OPEN = re.compile(r"\{([A-Za-z_]\w*)\}")
HINT = "Further parameters of a request go under parameters."


class Protocol(TypedDict, total=False):
    """What the authors of a prompt did; a key is missing where they do not say.

    Attributes:
        source: paper, repository and commit, or ``geobench``.
        temperature: and other parameters of sampling.
        samples: how many answers of a photo, and what was made of them.
        refusals: what became of a refusal.
        unparseable: what became of an answer that could not be read.
        geocoding: how names became positions.
        differences: where this file is not what they did.
    """

    source: Required[Annotated[str, MinLen(1)]]
    temperature: str
    samples: str
    refusals: str
    unparseable: str
    geocoding: str
    differences: str


@dataclass(frozen=True)
class Prompt:
    """What a model is asked about a photo.

    Attributes:
        name: of the prompt, for tables.
        version: raised with every change of what is sent.
        user: the question; :data:`PLACEHOLDERS` in braces are filled for each photo.
        parser: by which its answers are read.
        protocol: of its source.
        system: the message before it; empty for none.
        schema: JSON schema that the endpoint is to enforce; None for none.
        temperature: None leaves it to the endpoint.
        max_tokens: most tokens of an answer, reasoning included; None leaves it to the endpoint.
        samples: answers of each photo.
        image_first: whether the photo stands before the question.
        parameters: further parameters of the request, as the endpoint calls them.
    """

    name: Annotated[str, MinLen(1)]
    version: Annotated[int, Ge(1)]
    user: Annotated[str, MinLen(1)]
    parser: str
    protocol: Protocol
    system: str = ""
    schema: Mapping[str, Any] | None = None
    temperature: Annotated[float, Ge(0)] | None = None
    max_tokens: Annotated[int, Ge(1)] | None = None
    samples: Annotated[int, Ge(1)] = 1
    image_first: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """Return 16 digits that change with anything that is sent; parser, name, version and protocol are not sent."""
        sent = ("system", "user", "schema", "temperature", "max_tokens", "image_first", "parameters")
        text = json.dumps({name: getattr(self, name) for name in sent}, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]

    @property
    def label(self) -> str:
        """Return name and version as one word, for records."""
        return f"{self.name}@{self.version}"

    @property
    def placeholders(self) -> frozenset[str]:
        """Return which of :data:`PLACEHOLDERS` it leaves open."""
        return frozenset(_OPEN.findall(self.system + self.user))

    def filled(self, **values: str) -> tuple[str, str]:
        """Return system message and question with ``values`` in their places.

        Raises:
            SettingError: a value is missing, or the prompt has no place for it.
        """
        if missing := sorted(self.placeholders - values.keys()):
            raise SettingError(f"the prompt {self.name} has a place for {missing[0]}, and there are none.")
        if spare := sorted(values.keys() - self.placeholders):
            raise SettingError(f"the prompt {self.name} has no place for {spare[0]}; write {{{spare[0]}}} into it.")
        system, user = (_OPEN.sub(lambda match: values[match[1]], text) for text in (self.system, self.user))
        return system, user


def prompt_names() -> list[str]:
    """Return the names of the prompts that come with geobench."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_prompt(name: str | Path) -> Prompt:
    """Return the prompt ``name``: one that comes with geobench, or the path of a TOML file with the same keys.

    Raises:
        UnknownNameError: no such prompt.
        SettingError: the file is not a prompt; names the key and what is valid.
    """
    if str(name).endswith(".toml"):
        return _read(Path(name).expanduser())
    if str(name) not in prompt_names():
        raise unknown_name("prompt", str(name), prompt_names(), "Your own is a file: prompt=FILE.toml")
    return _read(FOLDER / f"{name}.toml")


def _read(path: Path) -> Prompt:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        ours = ", ".join(prompt_names())
        raise SettingError(f"{path}: there is no such file; the prompts that come with geobench are {ours}.") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not a prompt: {error}.") from error
    prompt = validate(Prompt, values, str(path), SettingError, HINT)
    try:
        get_parser(prompt.parser)
    except Exception as error:
        raise SettingError(f"{path}: parser: {error}") from error
    for name in sorted(prompt.placeholders - PLACEHOLDERS.keys()):
        raise SettingError(f"{path}: {unknown_name('placeholder', name, PLACEHOLDERS)}")
    return prompt
