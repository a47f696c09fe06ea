"""The keys of the schema, read from its models: for suggestions, environment variables, documents and tests."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel

from obsctl.config.schema import Config
from obsctl.config.shapes import KeyPath

ANY = "*"


def bare(kind: object) -> object:
    """The type without Annotated and without None."""
    origin = get_origin(kind)
    if origin is Annotated:
        return bare(get_args(kind)[0])
    if origin in (Union, UnionType):
        return bare(next(choice for choice in get_args(kind) if choice is not NoneType))
    return kind


def known(kind: object) -> dict[str, object]:
    """The keys of a section as they are written, each with its kind (a type); empty when it is no section."""
    plain = bare(kind)
    if not (isinstance(plain, type) and issubclass(plain, BaseModel)):
        return {}
    return {field.alias or name: field.annotation for name, field in plain.model_fields.items()}


def python_names(kind: object) -> dict[str, str]:
    """Field names of a section that differ from the key in obsctl.yaml -> that key."""
    plain = bare(kind)
    fields = plain.model_fields if isinstance(plain, type) and issubclass(plain, BaseModel) else {}
    return {name: field.alias for name, field in fields.items() if field.alias}


@cache
def descriptions(section: type[BaseModel]) -> dict[str, str]:
    """Field -> its description: the text below it in the source of its class or of a base class."""
    texts: dict[str, str] = {}
    for kind in section.__mro__:
        if kind is not BaseModel and issubclass(kind, BaseModel):
            for field, below in pairwise(_body(kind)):
                match field, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as text)):
                        texts.setdefault(name, inspect.cleandoc(text))
    usual = {name: field.description for name, field in section.model_fields.items() if field.description}
    return {**usual, **{name: text for name, text in texts.items() if name in section.model_fields}}


def _body(kind: type) -> list[ast.stmt]:
    [definition] = ast.parse(inspect.getsource(kind)).body
    return definition.body if isinstance(definition, ast.ClassDef) else []


def entry(kind: object) -> object:
    """The kind of the values of a mapping with free keys; None when it is none."""
    plain = bare(kind)
    return get_args(plain)[1] if get_origin(plain) is dict else None


def item(kind: object) -> object:
    """The kind of a list's items; None when it is no list."""
    plain = bare(kind)
    return get_args(plain)[0] if get_origin(plain) is tuple else None


def is_text(kind: object) -> bool:
    plain = bare(kind)
    return isinstance(plain, type) and issubclass(plain, str)


def kind_at(path: KeyPath, top: object = Config) -> object:
    """The kind of the value at this path below `top`; None below something unknown."""
    kind = top
    for step in path:
        kind = known(kind).get(str(step)) or entry(kind) or item(kind)
    return kind


def paths(kind: object = Config, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key path; ANY stands for a free key and for a list's item."""
    if above:
        yield above
    for key, below in known(kind).items():
        yield from paths(below, (*above, key))
    below = entry(kind) or item(kind)
    if below is not None:
        yield from paths(below, (*above, ANY))
