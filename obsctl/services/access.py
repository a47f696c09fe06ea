"""Which requests alert-sink takes.

A delivery counts only with the secret that Alertmanager alone has. Everything else can be read by whoever reaches the
port, but not by a web page in somebody's browser: one that makes a name of its own point to this server (DNS rebinding)
gives itself away by that name, which stands in the request's Host.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from pathlib import Path

from flask import Request
from werkzeug.exceptions import HTTPException

from obsctl.model import is_ip_address

# Nobody can own a name below these in the public DNS: they are answered by one's own network alone.
_PRIVATE_ZONES = (".consul", ".home.arpa", ".internal", ".local", ".localhost")
_HOST = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]+))(:\d*)?", re.ASCII)
_PROBES = ("/alive", "/health")


class Refusal(HTTPException):
    """A request that is not taken. reason: a word for the metric."""

    def __init__(self, reason: str, code: int, words: str) -> None:
        super().__init__(words)
        self.reason = reason
        self.code = code


class Access:
    """hosts: further names by which people may ask for this server. The secret's file is read at each delivery, so a
    new secret needs no restart."""

    def __init__(self, secret_file: Path, hosts: Iterable[str] = ()) -> None:
        self._secret_file = secret_file
        self._hosts = {host.lower() for host in hosts}

    def check(self, request: Request) -> None:
        """Refuse a request by a name that may be anybody's, unless it only asks whether the program is well."""
        host = request.headers.get("Host", "")
        if host and request.path not in _PROBES and not self._is_ours(host):
            words = f"this server does not know itself by the name {host!r}; "
            hint = "ask by its IP address, or add the name to components.alert-sink.hosts in obsctl.yaml and deploy"
            raise Refusal("host", 403, words + hint)

    def check_delivery(self, request: Request) -> None:
        """Refuse what Alertmanager did not send."""
        if "Origin" in request.headers or "Sec-Fetch-Site" in request.headers:
            raise Refusal("origin", 403, "a web page cannot deliver notifications; Alertmanager does")
        secret = self._secret()
        password = (request.authorization.password if request.authorization else None) or ""
        if not secret or not hmac.compare_digest(password.encode(errors="replace"), secret.encode()):
            raise Refusal("secret", 401, "a delivery carries the secret that Alertmanager has in its url_file")
        if request.mimetype != "application/json":
            raise Refusal("content_type", 415, "a delivery is application/json")

    def _secret(self) -> str:
        try:
            return self._secret_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            words = f"the secret of deliveries cannot be read ({type(error).__name__}): try again"
            raise Refusal("secret", 503, words) from error

    def _is_ours(self, host: str) -> bool:
        parts = _HOST.fullmatch(host)
        name = (parts["address"] or parts["name"]).lower().rstrip(".") if parts else ""
        return (
            name in self._hosts
            or is_ip_address(name)
            or name.endswith(_PRIVATE_ZONES)
            or bool(re.fullmatch(r"[a-z0-9_-]+", name))  # without a dot it is no name of the public DNS
        )
