"""Every call that obsctl can send to Nomad and Consul has a right in the table, or is known to need none."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from obsctl import names, rights
from obsctl.clients.consul_api import ConsulClient
from obsctl.clients.endpoint import Endpoint
from obsctl.clients.http import Client
from obsctl.clients.nomad_api import NomadClient
from obsctl.errors import ObsctlError
from tests.stub_server import StubServer, stub_server

CLIENTS: dict[str, Callable[[Endpoint], Client]] = {"nomad": NomadClient, "consul": ConsulClient}
ARGUMENTS: dict[str, Any] = {
    "alloc_id": "a", "eval_id": "e", "file": "f", "hcl": "", "index": 1, "items": {}, "job": {"ID": "web"},
    "job_id": "web", "key": f"{names.drills_folder('obs')}/web", "name": "n", "node_id": "n", "offset": 0,
    "path": names.drill_variable("obs"), "prefix": f"{names.drills_folder('obs')}/", "service": "web", "session": "s",
    "signal": "SIGCONT",    "task": "t", "ttl": 10, "value": b"", "volume": {}, "wait": 0.1,
}  # fmt: skip
"""What is given for a parameter of this name. Keys and Variables are such as obsctl's roles may read and write."""
OPEN = {
    "nomad": {"GET /v1/status/leader", "GET /v1/status/peers", "GET /v1/metrics", f"GET {names.SIGNING_KEYS}"},
    "consul": {"GET /v1/status/leader"},
}
"""These servers answer them to everybody."""
NAMELESS = {"PUT /v1/txn"}
"""What these take stands in their body: the keys, which have rows."""


def methods(server: str) -> Iterator[str]:
    """Those of the client itself, not of what every client has."""
    own = inspect.getmembers(CLIENTS[server], inspect.isfunction)
    return (name for name, _ in own if name[0] != "_" and not hasattr(Client, name))


def call(server: str, method: str, stub: StubServer) -> None:
    function = getattr(CLIENTS[server](Endpoint(server, stub.address, "")), method)
    parameters = inspect.signature(function).parameters.values()
    needed = {each.name: ARGUMENTS[each.name] for each in parameters if each.default is inspect.Parameter.empty}
    with suppress(ObsctlError):  # the stub's answer means nothing
        function(**needed)


@pytest.mark.parametrize(("server", "method"), [(server, name) for server in CLIENTS for name in methods(server)])
def test_a_call_has_a_right(server: str, method: str) -> None:
    with stub_server() as stub:
        call(server, method, stub)
    sent = {f"{asked.method} {asked.path}" for asked in stub.asked}
    assert sent, f"{method} sends nothing"
    for each in sent - OPEN[server] - NAMELESS:
        assert rights.needed(server, *each.split(" ", 1), "default"), f"{each} has no row in obsctl/rights.py"


@pytest.mark.parametrize("server", CLIENTS)
def test_a_row_has_no_call_that_nobody_makes(server: str) -> None:
    with stub_server() as stub:
        for method in methods(server):
            call(server, method, stub)
    sent = [(asked.method, asked.path) for asked in stub.asked]
    rows = [row for row in rights.rights("obs", "default", volumes=True) if row.server == server]
    calls = {each for row in rows for each in row.calls}
    assert {
        each for each in calls if not any(re.fullmatch(each.replace("*", ".+"), " ".join(one)) for one in sent)
    } == set()
