"""The one HTTP session beneath every client, python-nomad and py-consul included.

Libraries choose their own timeouts, TLS checks, tokens and environment variables. None of that counts here:
whatever they pass, `Session.request` sends what the configuration says, and turns every failure into one of
obsctl.errors. Those are no requests exceptions, so they pass through the libraries' own `except` clauses.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Container, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.exceptions import InsecureRequestWarning

from obsctl import __version__
from obsctl.clients.failures import CONNECT_TIMEOUT, Call, is_dropped
from obsctl.clients.server import Server
from obsctl.errors import ObsctlError, ServerFailed, TimedOut, Unreachable

_TOKEN_HEADERS = {"authorization", "x-nomad-token", "x-consul-token"}
_Send = Callable[[], requests.Response]


class Session(requests.Session):
    """requests, bound to one server. Every method takes a path ("/v1/jobs") or a whole URL of that server.

    Raises only obsctl.errors. A read is tried once more when a kept-alive connection turns out to be dead;
    nothing else is repeated. Safe to share between threads.
    """

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        # As many connections as threads ask at once; those beyond would be closed after each answer, with a warning.
        self.mount(server.address, HTTPAdapter(pool_maxsize=64))
        # No netrc, nothing of the environment; of proxies see _enforced.
        self.trust_env = False
        self.headers["User-Agent"] = f"obsctl/{__version__}"
        self._verify: bool | str = server.verify and (server.ca_file or _trust_store())
        if server.token:
            self.headers[server.token_header] = _checked(server.token, server.key)
        if not server.verify:
            urllib3.disable_warnings(InsecureRequestWarning)

    def request(
        self,
        method: str | bytes,
        url: str | bytes,
        *args: Any,
        wait: float = 0.0,
        text: bool = False,
        quote: bool = True,
        accept: Container[int] = (),
        **kwargs: Any,
    ) -> requests.Response:
        """Send one request and return a 2xx answer.

        wait: seconds a blocking query may take on top of the timeout.
        text: the answer is plain text; otherwise it must be JSON or empty.
        quote: whether an error may repeat the server's words; not where these may hold a secret.
        accept: statuses that are an answer here and no error.
        """
        verb, path = str(method).upper(), urlsplit(str(url)).path
        call = Call(self.server, verb, path, self.server.timeout + wait, quote)
        options = {**kwargs, **self._enforced(kwargs, call.timeout)}
        send = partial(super().request, method, _absolute(self.server.address, str(url)), *args, **options)
        response = _try(send, call, retry=verb == "GET")
        call.check(response, text=text, accept=accept)
        return response

    def answers(self, path: str) -> bool:
        """Whether there is a 2xx answer; False when the server is down, silent, or says 5xx."""
        try:
            self.request("GET", path, text=True)
        except (Unreachable, TimedOut, ServerFailed):
            return False
        return True

    def server_time(self, path: str) -> float:
        """The server's clock, from the Date header of a cheap answer: Unix seconds, whole ones."""
        date = self.request("GET", path, text=True).headers.get("Date", "")
        try:
            return parsedate_to_datetime(date).timestamp()
        except ValueError:
            raise ServerFailed(f"{self.server} gave no usable Date header: {date!r}", hint=self.server.down) from None

    def _enforced(self, given: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """What the configuration decides, over whatever a library passed."""
        server = self.server
        headers = {
            name: value for name, value in (given.get("headers") or {}).items() if name.lower() not in _TOKEN_HEADERS
        }
        certificate = (server.cert_file, server.key_file) if server.cert_file else None
        return {
            "headers": headers,
            "params": {**(given.get("params") or {}), **server.params},
            "timeout": (CONNECT_TIMEOUT, timeout),
            "verify": self._verify,
            "cert": certificate,
            # A server on 127.0.0.1 is never behind a proxy.
            "proxies": get_environ_proxies(server.address) if server.outside else None,
            "allow_redirects": False,  # a token must not follow one to another server
        }


def _try(send: _Send, call: Call, *, retry: bool) -> requests.Response:
    try:
        return send()
    except requests.RequestException as error:
        if retry and is_dropped(error):
            return _try(send, call, retry=False)
        raise call.failure(error) from error
    except OSError as error:  # requests looks for certificate files before it calls
        raise call.unusable(error) from error


def _absolute(address: str, url: str) -> str:
    return address.rstrip("/") + url if url.startswith("/") else url


def _checked(token: str, key: str) -> str:
    """The token, unless it could not be sent; checked here because requests would repeat it in its error."""
    if token.isascii() and token.isprintable():
        return token
    raise ObsctlError(
        f"{key}.token holds characters that no token has, such as a line break",
        hint=f"look at what {key}.token refers to",
    )


def _trust_store() -> str | bool:
    """The CAs to trust when none is configured: what the environment names, else the machine's own.

    SSL_CERT_FILE and SSL_CERT_DIR count for the nomad and consul programs as well; REQUESTS_CA_BUNDLE is what
    Python programs know. `True` is the list that comes with requests, for machines that have none.
    """
    paths = ssl.get_default_verify_paths()
    return os.environ.get("REQUESTS_CA_BUNDLE") or paths.cafile or paths.capath or True
