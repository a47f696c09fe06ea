"""Identities as Nomad gives them to tasks from 1.7 on: signed texts, and the page with the key that signed them."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def _plain(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """Signs with a key of its own. address: of the page with its public half."""

    def __init__(self, folder: Path) -> None:
        self._key = folder / "key.pem"
        self.address = ""
        _openssl("genrsa", "-out", str(self._key), "2048")

    def keys(self) -> dict[str, Any]:
        said = _openssl("rsa", "-in", str(self._key), "-noout", "-modulus").decode()
        number = bytes.fromhex(said.strip().removeprefix("Modulus="))
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one", "n": _plain(number), "e": "AQAB"}
        return {"keys": [key]}

    def identity(self, **claims: str) -> str:
        """A text that claims this, for an hour."""
        times = {"iat": int(time.time()), "nbf": int(time.time()) - 5, "exp": int(time.time()) + 3600}
        head = {"alg": "RS256", "kid": "one", "typ": "JWT"}
        parts = [_plain(json.dumps(part).encode()) for part in (head, {"aud": "consul.io", **times, **claims})]
        text = ".".join(parts)
        return f"{text}.{_plain(_openssl('dgst', '-sha256', '-sign', str(self._key), given=text.encode()))}"


@contextmanager
def signer(folder: Path) -> Iterator[Signer]:
    """One whose page is there meanwhile."""
    made = Signer(folder)
    page = json.dumps(made.keys()).encode()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.address = f"http://127.0.0.1:{server.server_port}/.well-known/jwks.json"
        try:
            yield made
        finally:
            server.shutdown()


def _openssl(*arguments: str, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout
