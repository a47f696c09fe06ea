"""What several kinds of tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings
from jinja2 import Environment

from obsctl.local import ports
from obsctl.local.cluster import LocalCluster
from tests.command import plain_environ
from tests.goldens import UPDATE_GOLDEN
from tests.local_cluster import running_cluster
from tests.ports import SHARES, WORKER

pytest_plugins = ("tests.needs",)

# What testers have set for their own obsctl and terminal is not what is tested; which servers to test with is.
for name in {*os.environ} - {*plain_environ(), UPDATE_GOLDEN}:
    del os.environ[name]
# A shell starts its background jobs with Ctrl-C ignored, and the programs under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# A cluster that is down for a moment finds its block of ports again: no other worker has been given it.
ports.BLOCKS = ports.BLOCKS[WORKER::SHARES]
# A law is not timed: the machine may be busy. And it is tried with the same examples each time.
settings.register_profile("obsctl", deadline=None, derandomize=True)
settings.load_profile("obsctl")


@pytest.fixture(scope="session", autouse=True)
def templates_are_compiled_once() -> Iterator[None]:
    """Each test has a cache folder of its own, and without what is kept there compiling is two thirds of a render."""
    compiled: dict[tuple[object, ...], object] = {}
    compile_anew = Environment.compile

    def compile_once(self: Environment, *arguments: object) -> object:
        key = (type(self), *arguments)
        if key not in compiled:
            compiled[key] = compile_anew(self, *arguments)  # type: ignore[call-overload]
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "compile", compile_once)
        yield


LONGEST = ("nodes", "two-stacks")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest groups first: each runs on one worker, so what begins late decides when all ends."""

    def place(item: pytest.Item) -> int:
        group = item.get_closest_marker("xdist_group")
        name = group.args[0] if group else ""
        return LONGEST.index(name) if name in LONGEST else len(LONGEST)

    items.sort(key=place)


LONGEST_ID = 100


def pytest_make_parametrize_id(val: object) -> str | None:
    """What is long is called by its beginning: an id is sent between the workers with every event of its test."""
    return f"{val[:LONGEST_ID]!s}..." if isinstance(val, str | bytes) and len(val) > LONGEST_ID else None


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    """A running cluster, one a pytest worker. Tests clean up their jobs and keys."""
    with running_cluster() as running:
        yield running
