"""What texts and numbers of obsctl.yaml may look like, each with the words that say so."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

KeyPath = tuple[str | int, ...]
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Strict(BaseModel):
    """A section: unknown keys are faults, values never change, the text below a key describes it (keys.descriptions).

    That text is read when somebody asks for it, and how to validate is made when something is validated: both take
    long, and every command would do it, for every section.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Misfit(NamedTuple):
    """A value that is right alone but not beside another. Both key paths start at the section that says it."""

    path: KeyPath
    words: str
    other: KeyPath = ()


class Clash(ValueError):
    """What a section's validator raises when its values do not fit together."""

    def __init__(self, *misfits: Misfit) -> None:
        super().__init__("; ".join(misfit.words for misfit in misfits))
        self.misfits = misfits


@dataclass(frozen=True, slots=True)
class Shape:
    """Text that is wholly this pattern; anything else is refused with these words, and never repeated. No control
    character fits: no file that is made of it could hold one."""

    pattern: str
    words: str

    def check(self, value: str) -> str:
        if _CONTROL.search(value) or not re.fullmatch(self.pattern, value):
            raise ValueError(self.words)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^{self.pattern}$"}


def _address(value: str) -> str:
    words = 'must be like "http://127.0.0.1:4646": http or https, a host, a port, no path and no user'
    try:
        url = urlsplit(value)
        plain = bool(url.hostname) and "@" not in url.netloc and (url.port is None or url.port > 0)
    except ValueError:
        plain = False
    if not plain or url.scheme not in ("http", "https") or url.path.strip("/") or url.query or url.fragment:
        raise ValueError(words)
    return value.rstrip("/")


def _from_root(value: str, info: ValidationInfo) -> str:
    """A relative path starts at the folder of obsctl.yaml, wherever the command is run."""
    expanded = os.path.expanduser(value)  # noqa: PTH111  Path.expanduser raises when there is no home
    return os.path.join(info.context["root"], expanded) if info.context else expanded  # noqa: PTH118


Name = Annotated[
    str,
    Shape(
        r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "must be lower-case letters, digits and dashes, at most 63, with a letter or digit at both ends",
    ),
]
Word = Annotated[str, Shape(r"[^\s\"'\\]+", "must be one word without spaces, quotes or backslashes")]
ServiceName = Annotated[
    str, Shape(r"[A-Za-z0-9][A-Za-z0-9._-]*", "a service's name has only letters, digits, dots, dashes and _")
]
LabelName = Annotated[
    str,
    Shape(r"[A-Za-z_][A-Za-z0-9_]*", "a label's name has only letters, digits and _, and does not begin with a digit"),
]
Severity = Annotated[str, Shape(r"[A-Za-z0-9_-]+", "must be letters, digits, dashes and _")]
Line = Annotated[str, Shape(r"[^\"\\\r\n]+", "must be one line without quotes or backslashes")]
Folder = Annotated[
    str, Shape(r"/[^\s\"'\\$%]+", 'must be an absolute path of plain characters, like "/opt/grafana-plugins"')
]
Link = Annotated[
    str,
    Shape(
        r"https?://[^\s\"'\\$%#?@/]+(/[^\s\"'\\$%#?@]*)?", 'must be like "https://grafana.example.org/": http or https'
    ),
]
Text = Annotated[str, Field(min_length=1)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Address = Annotated[str, AfterValidator(_address), Field(json_schema_extra={"pattern": r"^https?://[^/\s?#@]+/?$"})]
LocalPath = Annotated[Text, AfterValidator(_from_root)]
