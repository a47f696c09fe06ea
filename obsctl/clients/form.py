"""The form of answers: what is no answer of the server in question is said in one way, whichever method reads it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from obsctl.errors import ServerFailed
from obsctl.model import Json


def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a client that raises ServerFailed where the answer has another form than the method reads."""

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except self.misread as error:
            name = self.endpoint.name
            what = f"{self.endpoint} answers otherwise than {name} does"
            raise ServerFailed(what, hint=f"check that its address is really {name}'s") from error

    return call


def object_of(value: Any, *needed: str) -> Json:
    """The value, if it is an object that has these. Raises KeyError or TypeError."""
    if not isinstance(value, dict):
        raise TypeError(f"no object: {type(value).__name__}")
    if missing := set(needed) - value.keys():
        raise KeyError(*missing)
    return value


def objects_of(value: Any, *needed: str) -> list[Json]:
    """The value, if it is a list of objects that have these. Raises KeyError or TypeError."""
    if not isinstance(value, list):
        raise TypeError(f"no list: {type(value).__name__}")
    return [object_of(item, *needed) for item in value]


def text_of(value: Any) -> str:
    """The value, if it is a text. Raises TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"no text: {type(value).__name__}")
    return value
