"""A web site on 127.0.0.1 that publishes releases in the publishers' own layouts, and can break them."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from obsctl.local.servers import Platform

VERSION_LINES = {
    "nomad": "Nomad v1.11.2\nBuildDate 2026-02-11T17:36:16Z\nRevision 0a1b2c3d",
    "consul": "Consul v1.21.0\nRevision 4e96098f\nBuild Date 2025-05-06T12:00:00Z",
    "prometheus": "prometheus, version 3.14.0 (branch: HEAD, revision: 1234567)\n  build user: root@x",
    "promtool": "promtool, version 3.14.0 (branch: HEAD, revision: 1234567)",
    "alertmanager": "alertmanager, version 0.31.1 (branch: HEAD, revision: 1234567)",
    "amtool": "amtool, version 0.31.1 (branch: HEAD, revision: 1234567)",
}
PLATFORM = Platform.current()
NOMAD = f"nomad/1.11.2/nomad_1.11.2_{PLATFORM.os}_{PLATFORM.arch}.zip"
NOMAD_SUMS = "nomad/1.11.2/nomad_1.11.2_SHA256SUMS"
PROMETHEUS_FOLDER = f"prometheus-3.14.0.{PLATFORM.os}-{PLATFORM.arch}"
PROMETHEUS = f"prometheus/releases/download/v3.14.0/{PROMETHEUS_FOLDER}.tar.gz"
PROMETHEUS_SUMS = "prometheus/releases/download/v3.14.0/sha256sums.txt"

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


def program(text: str) -> bytes:
    """A program that prints `text` whatever it is asked. It needs no PATH."""
    return f"#!/bin/sh\nprintf '%s\\n' '{text}'\n".encode()


def install(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(program(text))
    path.chmod(0o755)
    return path


def nomad_zip(member: str = "nomad", padding: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("LICENSE.txt", "Business Source License\n" + "x" * padding)
        archive.writestr(member, program(VERSION_LINES["nomad"]))
    return buffer.getvalue()


def prometheus_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in ("LICENSE", "prometheus", "promtool"):
            content = program(VERSION_LINES.get(name, "Apache"))
            member = tarfile.TarInfo(f"{PROMETHEUS_FOLDER}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def checksum_line(content: bytes, path: str) -> str:
    return f"{hashlib.sha256(content).hexdigest()}  {path.rsplit('/', 1)[1]}\n"


class ReleaseSite:
    """files: path -> content. answers: path -> how it is sent instead. asked: the paths, in order."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.go_on = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.lstrip("/")
                site.asked.append(path)
                answer = send if path in site.files else not_found
                try:
                    site.answers.get(path, answer)(self, site.files.get(path, b""))
                except OSError:
                    self.close_connection = True  # the client is gone, as some tests want it

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def publish_nomad(self, archive: bytes | None = None) -> None:
        self.files[NOMAD] = nomad_zip() if archive is None else archive
        other = checksum_line(b"other", "x/nomad_1.11.2_darwin_mips.zip")
        self.files[NOMAD_SUMS] = (other + checksum_line(self.files[NOMAD], NOMAD)).encode()

    def publish_prometheus(self) -> None:
        self.files[PROMETHEUS] = prometheus_tar()
        self.files[PROMETHEUS_SUMS] = checksum_line(self.files[PROMETHEUS], PROMETHEUS).encode()

    def stall(self, handler: BaseHTTPRequestHandler, content: bytes) -> None:
        """Send half, and the rest when `go_on` is set."""
        _headers(handler, len(content))
        half = len(content) // 2
        handler.wfile.write(content[:half])
        self.go_on.wait()
        handler.wfile.write(content[half:])

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def send(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    _headers(handler, len(content))
    handler.wfile.write(content)


def not_found(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_error(404)


def truncate(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    _headers(handler, len(content))
    handler.wfile.write(content[: len(content) // 2])


def _headers(handler: BaseHTTPRequestHandler, length: int) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()


_RUN = """
import json, pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
from obsctl.local.binaries import provide
given = json.loads(sys.argv[1])
found = provide(
    given["name"],
    {},
    emit=lambda event: print(event.state, event.text, flush=True),
    environ=given["environ"],
    toolchain=pathlib.Path(given["toolchain"]),
)
print(found.source, found.path, flush=True)
"""


def start_provide(name: str, environ: dict[str, str], toolchain: Path) -> subprocess.Popen[str]:
    """`provide` in a process of its own; it prints its events, then source and path."""
    given = json.dumps({"name": name, "environ": environ, "toolchain": str(toolchain)})
    return subprocess.Popen([sys.executable, "-c", _RUN, given], stdout=subprocess.PIPE, text=True)
