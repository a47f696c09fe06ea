"""Servers that answer in another form than Nomad and Consul do: each command says so, and none finds a bug."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from obsctl.cli import wire
from obsctl.stack.checks import TOOLS
from tests.command import Obsctl
from tests.stub_server import Answer, StubServer, stub_server
from tests.world import OTHERS_OFF

COMMANDS = [
    ["doctor"],
    ["plan"],
    ["deploy", "--yes"],
    ["status"],
    ["drill", "recover"],
    ["drill", "stop", "payments", "--yes"],
    ["open", "prometheus", "--print"],
    ["logs", "prometheus"],
    ["logs", "--where", "level=error"],
    ["trace", "--last"],
    ["secrets", "show", "warden-recipe-key"],
]
INDEXES = {"X-Consul-Index": "7", "X-Nomad-Index": "7", "Content-Type": "application/json"}


@pytest.fixture
def stub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubServer]:
    """Nomad and Consul are this server."""
    monkeypatch.setattr(wire, "check_tools", lambda *_: dict.fromkeys(TOOLS))
    with stub_server() as stub:
        server = {"address": stub.address}
        keys = {"stack": "obs", "components": OTHERS_OFF, "nomad": server, "consul": server}
        (folder / "obsctl.yaml").write_text(json.dumps(keys))
        yield stub


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b"[{}]", b"[null]", b'"x"', b"7"], ids=bytes.decode)
@pytest.mark.parametrize("headers", [INDEXES, {}], ids=["index", "no index"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_server_that_answers_in_another_form(
    obsctl: Obsctl, stub: StubServer, command: list[str], headers: dict[str, str], body: bytes
) -> None:
    stub.answers = [Answer(body=body, headers=headers)]
    ran = obsctl(*command)
    has_no_lines = command == ["logs", "prometheus"] and body == b"[]"  # a job without allocations
    assert ran.code == (0 if has_no_lines else 1), ran.err
    assert "Traceback" not in ran.err
