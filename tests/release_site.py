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
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from obsctl.config.catalog import PROGRAMS
from obsctl.local.source import Platform

VERSIONS = {name: server.project.release_version for name, server in PROGRAMS.items()}
VERSION_LINES = {
    "nomad": f"Nomad v{VERSIONS['nomad']}\nBuildDate 2026-02-11T17:36:16Z\nRevision 0a1b2c3d",
    "consul": f"Consul v{VERSIONS['consul']}\nRevision 4e96098f\nBuild Date 2025-05-06T12:00:00Z",
    "prometheus": f"prometheus, version {VERSIONS['prometheus']} (branch: HEAD, revision: 1234567)\n  build user: x",
    "promtool": f"promtool, version {VERSIONS['promtool']} (branch: HEAD, revision: 1234567)",
    "alertmanager": f"alertmanager, version {VERSIONS['alertmanager']} (branch: HEAD, revision: 1234567)",
    "amtool": f"amtool, version {VERSIONS['amtool']} (branch: HEAD, revision: 1234567)",
    "jaeger": f"jaeger version git-commit=1234567, git-version=v{VERSIONS['jaeger']}, build-date=2026-07-19T10:00:00Z",
    "victoria-logs": f"victoria-logs-20260710-100000-tags-v{VERSIONS['victoria-logs']}-0-g1234567",
    "otelcol": f"otelcol-contrib version {VERSIONS['otelcol']}",
}
PLATFORM = Platform.current()
NOMAD_FOLDER = f"nomad/{VERSIONS['nomad']}"
NOMAD = f"{NOMAD_FOLDER}/nomad_{VERSIONS['nomad']}_{PLATFORM.os}_{PLATFORM.arch}.zip"
NOMAD_SUMS = f"{NOMAD_FOLDER}/nomad_{VERSIONS['nomad']}_SHA256SUMS"
PROMETHEUS_FOLDER = f"prometheus-{VERSIONS['prometheus']}.{PLATFORM.os}-{PLATFORM.arch}"
PROMETHEUS = f"prometheus/releases/download/v{VERSIONS['prometheus']}/{PROMETHEUS_FOLDER}.tar.gz"
PROMETHEUS_SUMS = f"prometheus/releases/download/v{VERSIONS['prometheus']}/sha256sums.txt"
JAEGER_FOLDER = f"jaeger-{VERSIONS['jaeger']}-{PLATFORM.os}-{PLATFORM.arch}"
JAEGER = f"jaeger/releases/download/v{VERSIONS['jaeger']}/{JAEGER_FOLDER}.tar.gz"
JAEGER_SUMS = f"jaeger/releases/download/v{VERSIONS['jaeger']}/jaeger-{VERSIONS['jaeger']}.sha256sum.txt"
LOGS_FOLDER = f"VictoriaLogs/releases/download/v{VERSIONS['victoria-logs']}"
LOGS = f"{LOGS_FOLDER}/victoria-logs-{PLATFORM.os}-{PLATFORM.arch}-v{VERSIONS['victoria-logs']}.tar.gz"
LOGS_SUMS = LOGS.removesuffix(".tar.gz") + "_checksums.txt"
OTELCOL_FOLDER = f"opentelemetry-collector-releases/releases/download/v{VERSIONS['otelcol']}"
OTELCOL = f"{OTELCOL_FOLDER}/otelcol-contrib_{VERSIONS['otelcol']}_{PLATFORM.os}_{PLATFORM.arch}.tar.gz"
OTELCOL_SUMS = f"{OTELCOL_FOLDER}/opentelemetry-collector-releases_otelcol-contrib_checksums.txt"

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


def zip_of(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tar_of(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def nomad_zip(member: str = "nomad", padding: int = 0) -> bytes:
    license_text = b"Business Source License\n" + b"x" * padding
    return zip_of({"LICENSE.txt": license_text, member: program(VERSION_LINES["nomad"])})


def prometheus_tar() -> bytes:
    programs = {f"{PROMETHEUS_FOLDER}/{name}": program(VERSION_LINES[name]) for name in ("prometheus", "promtool")}
    return tar_of({f"{PROMETHEUS_FOLDER}/LICENSE": b"Apache", **programs})


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

    def publish(self, path: str, archive: bytes, sums: str) -> None:
        self.files[path] = archive
        other = checksum_line(b"other", "x/another_platform.zip")
        self.files[sums] = (other + checksum_line(archive, path)).encode()

    def publish_nomad(self, archive: bytes | None = None) -> None:
        self.publish(NOMAD, nomad_zip() if archive is None else archive, NOMAD_SUMS)

    def publish_prometheus(self) -> None:
        self.publish(PROMETHEUS, prometheus_tar(), PROMETHEUS_SUMS)

    def publish_jaeger(self) -> None:
        self.publish(JAEGER, tar_of({f"{JAEGER_FOLDER}/jaeger": program(VERSION_LINES["jaeger"])}), JAEGER_SUMS)

    def publish_logs(self) -> None:
        self.publish(LOGS, tar_of({"victoria-logs-prod": program(VERSION_LINES["victoria-logs"])}), LOGS_SUMS)

    def publish_otelcol(self) -> None:
        contrib = program(VERSION_LINES["otelcol"])
        self.publish(OTELCOL, tar_of({"README.md": b"", "otelcol-contrib": contrib}), OTELCOL_SUMS)

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
from obsctl.local.binaries import Binaries
given = json.loads(sys.argv[1])
program = Binaries(
    emit=lambda event: print(event.state, event.text, flush=True),
    environ=given["environ"],
    toolchain=pathlib.Path(given["toolchain"]),
).provide(given["name"])
print(program.source, program.path, flush=True)
"""


def start_provide(name: str, environ: dict[str, str], toolchain: Path) -> subprocess.Popen[str]:
    """`provide` in a process of its own; it prints its events, then source and path."""
    given = json.dumps({"name": name, "environ": environ, "toolchain": str(toolchain)})
    return subprocess.Popen([sys.executable, "-c", _RUN, given], stdout=subprocess.PIPE, text=True)
