"""The configuration written down: as YAML, as JSON, and its schema."""

from __future__ import annotations

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from obsctl.config import keys
from obsctl.config.durations import format_duration
from obsctl.config.schema import Config
from obsctl.model import Json

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_ID = "urn:obsctl:obsctl.yaml:v1"


def as_document(config: Config) -> Json:
    """JSON values, with keys and durations as in the file and without empty values. Loading it gives `config`."""
    return config.model_dump(mode="json", by_alias=True, exclude_none=True)


def as_yaml(config: Config) -> str:
    return yaml.safe_dump(as_document(config), sort_keys=False, allow_unicode=True)


def json_schema() -> Json:
    """The schema of obsctl.yaml, for editors."""
    schema = Config.model_json_schema(by_alias=True, mode="validation", schema_generator=_AsWritten)
    return {"$schema": SCHEMA_DIALECT, "$id": SCHEMA_ID, **schema, "title": "obsctl.yaml"}


class _AsWritten(GenerateJsonSchema):
    """With descriptions, and with defaults as people write them: durations with a unit, sections key by key."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        written = super().model_schema(schema)
        section: type[BaseModel] = schema["cls"]
        for name, text in keys.descriptions(section).items():
            written["properties"][section.model_fields[name].alias or name]["description"] = text
        return written

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        written = super().default_schema(schema)
        default = written.get("default")
        if isinstance(default, dict):
            del written["default"]
        elif isinstance(default, float) and written.get("type") == "string":
            written["default"] = format_duration(default, days=True)
        return written
