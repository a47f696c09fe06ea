"""Secrets are references in the file and are resolved at the last moment."""

from __future__ import annotations

from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

KINDS = ("env", "file", "nomad-var")


class SecretRef(str):
    """A reference to a secret: "env:NAME", "file:/path", "nomad-var:path#key". Never the secret itself."""

    __slots__ = ()

    @property
    def kind(self) -> str:
        return self.split(":", 1)[0]

    @property
    def target(self) -> str:
        return self.split(":", 1)[1]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        pattern = rf"^(?:{'|'.join(KINDS)}):\S+$"
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(pattern=pattern))
