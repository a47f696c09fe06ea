"""An HTTP server on 127.0.0.1 that answers as it is told and remembers what it was asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; header names in lower case."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What to send back. drop: close the connection instead. hold: seconds to stay silent, unless the server ends.
    promise: bytes of body to announce on top of those that come. endless: the body comes again and again."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    drop: bool = False
    hold: float = 0.0
    promise: int = 0
    endless: bool = False


class StubServer:
    """Gives `answers` one after the other, and the last one again and again."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.ended = threading.Event()
        self.answers = [Answer()]
        self.asked: list[Asked] = []

    def next_answer(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def stub_server() -> Iterator[StubServer]:
    server = _Server(("127.0.0.1", 0), _Handler)
    stub = server.stub
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.hang_up()
        server.server_close()  # waits for the threads of open connections
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        super().__init__(address, handler)
        self.stub = StubServer(self.server_port)
        self._connections: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, address = super().get_request()
        self._connections.append(connection)
        return connection, address

    def hang_up(self) -> None:
        """Clients keep their connections, and a thread waits for the next request on each."""
        self.stub.ended.set()
        for connection in self._connections:
            with suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        stub = self.server.stub
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        params = dict(parse_qsl(url.query, keep_blank_values=True))
        stub.asked.append(Asked(self.command, url.path, params, headers, body))
        answer = stub.next_answer()
        stub.ended.wait(answer.hold)
        if answer.drop or stub.ended.is_set():
            self.close_connection = True
        else:
            self._answer(answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _answer(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body) + answer.promise))
        self.end_headers()
        with suppress(OSError):  # when nobody reads any more
            self.wfile.write(answer.body)
            while answer.endless and not self.server.stub.ended.wait(0.001):
                self.wfile.write(answer.body)
        self.close_connection = self.close_connection or bool(answer.promise)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""
