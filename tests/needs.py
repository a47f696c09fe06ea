"""Tests that need a newer Nomad or Consul than the one that is here: they are not run, and one line at the end says so.

    @pytest.mark.needs(nomad="1.10")

It holds for tests that are marked `real`; with a fake the same test runs anyway. With --nothing-left-out
(`make test-with`) it is a failure that there are some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from obsctl.config.versions import Version, parse, title
from obsctl.local.binaries import Binaries

STRICT = "--nothing-left-out"
LEFT_OUT = pytest.StashKey[Counter[str]]()


@cache
def version(server: str) -> Version | None:
    """Of the program that the tests run; None when there is none, which they will say themselves."""
    program = Binaries().search(server).program
    return parse(program.version) if program else None


def lacking(needs: Mapping[str, str]) -> list[str]:
    """Which of these are newer than what is here, as "Nomad 1.10". needs: {"nomad": "1.10"}."""
    return [title(server, parse(since)) for server, since in needs.items() if _is_older(server, parse(since))]


def _is_older(server: str, since: Version) -> bool:
    here = version(server)
    return here is not None and here < since


def sentence(left_out: Mapping[str, int]) -> str:
    """What was left out, in one line; "" when nothing was."""
    if not left_out:
        return ""
    parts = [f"{count} {'tests need' if count > 1 else 'test needs'} {what} or newer"
             for what, count in sorted(left_out.items())]  # fmt: skip
    here = " and ".join(title(server, found) for server in ("nomad", "consul") if (found := version(server)))
    return f"{', '.join(parts)}: not run with {here} (make test-with NOMAD=/path CONSUL=/path)"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(STRICT, action="store_true", help="fail when a test needs a newer Nomad or Consul than is here")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEFT_OUT] = Counter()


@pytest.hookimpl(trylast=True)  # of those that were chosen by -m and -k
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept, left = [], []
    for item in items:
        marks = item.iter_markers("needs") if item.get_closest_marker("real") else ()
        missing = lacking({server: since for mark in marks for server, since in mark.kwargs.items()})
        config.stash[LEFT_OUT].update(missing[:1])
        (left if missing else kept).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept
    worker: dict[str, Any] | None = getattr(config, "workeroutput", None)
    if worker is not None:  # pytest-xdist's, on its way to the process that reports
        worker["left_out"] = dict(config.stash[LEFT_OUT])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker has ended; each has collected the same."""
    node.config.stash[LEFT_OUT] |= Counter(getattr(node, "workeroutput", {}).get("left_out", {}))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if said := sentence(config.stash[LEFT_OUT]):
        terminalreporter.write_line(said, red=config.getoption(STRICT), yellow=not config.getoption(STRICT))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption(STRICT) and session.config.stash[LEFT_OUT]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
