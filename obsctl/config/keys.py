"""Which keys the schema has, read from its models: for suggestions, environment variables and the tests."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from obsctl.config.schema import Config
from obsctl.config.shapes import KeyPath

ANY = "*"


def known(kind: Any) -> dict[str, Any]:
    """The keys of a section as they are written, each with its kind (a type); empty when it is no section."""
    bare = _bare(kind)
    if not (isinstance(bare, type) and issubclass(bare, BaseModel)):
        return {}
    return {field.alias or name: field.annotation for name, field in bare.model_fields.items()}


def python_names(kind: Any) -> dict[str, str]:
    """The names that a section's fields have in the code where those differ, each with the key to write."""
    bare = _bare(kind)
    fields = bare.model_fields if isinstance(bare, type) and issubclass(bare, BaseModel) else {}
    return {name: field.alias for name, field in fields.items() if field.alias}


def entry(kind: Any) -> Any:
    """The kind of the values of a mapping with free keys; None when it is none."""
    bare = _bare(kind)
    return get_args(bare)[1] if get_origin(bare) is dict else None


def item(kind: Any) -> Any:
    """The kind of a list's items; None when it is no list."""
    bare = _bare(kind)
    return get_args(bare)[0] if get_origin(bare) is tuple else None


def is_text(kind: Any) -> bool:
    bare = _bare(kind)
    return isinstance(bare, type) and issubclass(bare, str)


def kind_at(path: KeyPath) -> Any:
    """The kind of the value at this path; None below something unknown."""
    kind: Any = Config
    for step in path:
        kind = known(kind).get(str(step)) or entry(kind) or item(kind)
    return kind


def paths(kind: Any = Config, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key path; ANY stands for a free key and for a list's item."""
    if above:
        yield above
    for key, below in known(kind).items():
        yield from paths(below, (*above, key))
    below = entry(kind) or item(kind)
    if below is not None:
        yield from paths(below, (*above, ANY))


def _bare(kind: Any) -> Any:
    """Without Annotated and without None."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _bare(get_args(kind)[0])
    if origin in (Union, UnionType):
        return _bare(next(choice for choice in get_args(kind) if choice is not NoneType))
    return kind
