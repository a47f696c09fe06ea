"""The forms of texts and numbers in obsctl.yaml, each with the message for other values."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Annotated, NamedTuple

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

from obsctl.model import server_address

KeyPath = tuple[str | int, ...]
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Strict(BaseModel):
    """A section: unknown keys are errors, values never change, the text below a key describes it (keys.descriptions).

    Descriptions and validators are made on first use, because that takes long for all sections. Errors repeat no value.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, hide_input_in_errors=True)


class Misfit(NamedTuple):
    """A value that does not fit to another one. Both key paths start at the section that reports it."""

    path: KeyPath
    words: str
    other: KeyPath = ()


class Clash(ValueError):
    """Raised by the validator of a section whose values do not fit together."""

    def __init__(self, *misfits: Misfit) -> None:
        super().__init__("; ".join(misfit.words for misfit in misfits))
        self.misfits = misfits


@dataclass(frozen=True, slots=True)
class Shape:
    """A text that matches the whole pattern and has no control characters. Another one is refused with these words, and
    never repeated."""

    pattern: str
    words: str

    def check(self, value: str) -> str:
        if _CONTROL.search(value) or not re.fullmatch(self.pattern, value):
            raise ValueError(self.words)
        return value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^{self.pattern}$"}


def _from_root(value: str, info: ValidationInfo) -> str:
    """A relative path starts at the folder of obsctl.yaml."""
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
HostName = Annotated[
    str, Shape(r"[A-Za-z0-9_][A-Za-z0-9._-]*", 'must be a host\'s name without a port, like "alerts.example.org"')
]
LabelName = Annotated[
    str,
    Shape(r"[A-Za-z_][A-Za-z0-9_]*", "a label's name has only letters, digits and _, and does not begin with a digit"),
]
Namespace = Annotated[
    str,
    Shape(
        r"[A-Za-z0-9-]{1,128}",
        "must be the name of one Nomad namespace: letters, digits and dashes, at most 128; * is not a name",
    ),
]
SeverityName = Annotated[str, Shape(r"[A-Za-z0-9_-]+", "must be letters, digits, dashes and _")]
PlainLine = Annotated[str, Shape(r"[^\"\\\r\n]+", "must be one line without quotes or backslashes")]
FolderPath = Annotated[
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
ServerUrl = Annotated[
    str, AfterValidator(server_address), Field(json_schema_extra={"pattern": r"^https?://[^/\s?#@]+/?$"})
]
LocalPath = Annotated[Text, AfterValidator(_from_root)]
