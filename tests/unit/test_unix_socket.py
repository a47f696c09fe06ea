"""Nomad's Task API: HTTP over a Unix socket."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from obsctl.clients import connect
from obsctl.errors import Unreachable

SEEN: list[tuple[str, str | None]] = []


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        SEEN.append((self.path, self.headers["X-Nomad-Token"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def address_string(self) -> str:
        return "socket"

    def log_message(self, *_: object) -> None:
        """Nothing to say."""


@pytest.fixture
def socket(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "api.sock")
    with socketserver.ThreadingUnixStreamServer(path, Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield path
        server.shutdown()


@pytest.mark.enable_socket
def test_a_client_asks_there_as_the_task(socket: str) -> None:
    SEEN.clear()
    assert connect.task_api(socket, "team", token="an.identity").jobs() == []
    assert [(path.partition("?")[0], token, "namespace=team" in path) for path, token in SEEN] == [
        ("/v1/jobs", "an.identity", True)
    ]


@pytest.mark.enable_socket
def test_nobody_listens_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"api\.sock"):
        connect.task_api(str(tmp_path / "api.sock"), "default", token=None).jobs()
