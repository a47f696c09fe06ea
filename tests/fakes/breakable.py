"""What all fakes share: tests can see their calls, and make any of them fail."""

from __future__ import annotations

import functools
import inspect
import threading
from copy import deepcopy
from typing import Any

from obsctl.clients.paths import checked
from obsctl.errors import ApiError


class Breakable:
    """Every method of `api` is recorded in `calls` and raises what `failures` has for its name.

    failures: method name -> error; "*" is every method. Answers are copies, as they are from a real server, and
    calls of many threads come one after the other.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.failures: dict[str, ApiError] = {}
        self._one_at_a_time = threading.RLock()

    def __init_subclass__(cls, *, api: type | None = None, in_paths: tuple[str, ...] = ()) -> None:
        """api: the protocol that the class implements; what else it can do belongs to the test, and never fails.

        in_paths: the parameters whose values are names in a path, which the clients check.
        """
        for name, method in inspect.getmembers(api, inspect.isfunction) if api else []:
            if not name.startswith("_"):
                setattr(cls, name, _breakable(getattr(cls, method.__name__), in_paths))

    def called(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of every call of this method so far."""
        return [arguments for called, arguments in self.calls if called == name]


def _breakable(method: Any, in_paths: tuple[str, ...]) -> Any:
    signature = inspect.signature(method)
    checks = signature.parameters.keys() & set(in_paths)

    @functools.wraps(method)
    def call(self: Breakable, *args: Any, **kwargs: Any) -> Any:
        with self._one_at_a_time:
            self.calls.append((method.__name__, args))
            error = self.failures.get(method.__name__) or self.failures.get("*")
            if error:
                raise error
            if checks:
                given = signature.bind(self, *args, **kwargs).arguments
                for name in given.keys() & checks:
                    checked(given[name])
            return deepcopy(method(self, *args, **kwargs))

    return call
