"""The one HTTP session beneath every client, python-nomad and py-consul included.

Libraries choose their own timeouts, TLS checks, tokens and environment variables. `Session.request` ignores them, sends
what the configuration says, and turns every failure into one of obsctl.errors. These are not exceptions of requests, so
they pass through the libraries' own `except` clauses.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Container, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from inspect import isfunction
from math import inf
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.exceptions import InsecureRequestWarning

from obsctl import __version__
from obsctl.clients.endpoint import Endpoint
from obsctl.clients.failures import Call, is_dropped
from obsctl.clients.form import guarded
from obsctl.clients.paths import refuse_detours
from obsctl.clients.unix_socket import SocketAdapter
from obsctl.errors import ObsctlError, Rejected, ServerFailed
from obsctl.wait import SYSTEM_CLOCK

Answer = TypeVar("Answer")

LONGEST_WAIT = 25.0
"""Seconds of a blocking query: newer Consul servers cut an answer that takes 30 s."""
LARGEST_ANSWER = 128_000_000
"""Bytes: far more than all jobs and allocations of a large cluster."""
LONGEST_ANSWER = 300.0
"""Seconds from an answer's first byte to its last: one that only trickles is never late between two of them."""
_CHUNK = 65_536
CONNECTIONS = 64
"""Those beyond this number would be closed after each answer, with a warning."""
_TOKEN_HEADERS = {"authorization", "x-nomad-token", "x-consul-token"}
_Send = Callable[[], requests.Response]


class Session(requests.Session):
    """requests, bound to one server. Every method takes a path ("/v1/jobs") or a whole URL of that server.

    Raises only obsctl.errors. A read is tried once more when a kept-alive connection turns out to be dead;
    nothing else is repeated. Safe to share between threads.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.mount(endpoint.address, _adapter(endpoint.socket))
        self.trust_env = False  # no netrc and nothing else of the environment; proxies: see _enforced
        self.headers["User-Agent"] = f"obsctl/{__version__}"
        self._verify: bool | str = endpoint.verify and (endpoint.ca_file or _trust_store())
        if endpoint.token:
            self.headers[endpoint.token_header] = _sendable(endpoint.token, endpoint)
        if not endpoint.verify:
            urllib3.disable_warnings(InsecureRequestWarning)

    def request(
        self,
        method: str | bytes,
        url: str | bytes,
        *args: Any,
        wait: float = 0.0,
        within: float = inf,
        text: bool = False,
        quote: bool = True,
        accept: Container[int] = (),
        **kwargs: Any,
    ) -> requests.Response:
        """Send one request and return a 2xx answer.

        wait: seconds a blocking query may take on top of the timeout. within: seconds, where the timeout is longer.
        text: the answer is plain text; otherwise it must be JSON or empty.
        quote: whether an error may repeat the server's words; not where these may hold a secret.
        accept: statuses that are answers here, not errors.
        """
        verb, url = str(method).upper(), str(url)
        timeout = min(self.endpoint.timeout + wait, within)
        call = Call(self.endpoint, verb, urlsplit(url).path, timeout, quote)
        refuse_detours(call.path)
        whole_url = self.endpoint.address.rstrip("/") + url if url.startswith("/") else url
        options = {**kwargs, **self._enforced(kwargs, call.timeout)}
        send = partial(super().request, method, whole_url, *args, **options)
        response = _try(partial(_whole, send, call), call, retry=verb == "GET")
        call.check(response, text=text, accept=accept)
        return response

    def server_time(self, path: str) -> float:
        """The server's clock, from the Date header of a cheap answer: Unix seconds, whole ones."""
        date = self.request("GET", path, text=True).headers.get("Date", "")
        try:
            return parsedate_to_datetime(date).timestamp()
        except ValueError:
            what = f"{self.endpoint} gave no usable Date header: {date!r}"
            raise ServerFailed(what, hint=self.endpoint.down) from None

    def watch(
        self, path: str, index_header: str, index: int, wait: float, *, accept: Container[int] = (), **params: str
    ) -> tuple[int, requests.Response]:
        """A blocking query: answered at once when something changed after `index`, else after `wait` seconds.

        Returns the index of the next query and the answer. That index starts over when the server's went backwards, and
        is never 0, which would not block.
        """
        wait = min(wait, LONGEST_WAIT)
        query = {**params, "index": index, "wait": f"{wait * 1000:.0f}ms"}
        # The server adds up to a sixteenth to the wait, so that not all answers come at once.
        answer = self.request("GET", path, params=query, wait=wait * 17 / 16, accept=accept)
        if index_header not in answer.headers:
            raise self.no_index()
        newest = int(answer.headers[index_header])
        return max(newest, 1) if newest >= index else 1, answer

    def no_index(self) -> ServerFailed:
        """Something else than the expected server answered."""
        return ServerFailed(f"{self.endpoint} gave an answer without an index", hint=self.endpoint.down)

    def _enforced(self, options: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """What the configuration decides, whatever a library passed."""
        endpoint = self.endpoint
        passed = (options.get("headers") or {}).items()
        headers = {name: value for name, value in passed if name.lower() not in _TOKEN_HEADERS}
        certificate = (endpoint.cert_file, endpoint.key_file) if endpoint.cert_file else None
        return {
            "headers": headers,
            "params": {**(options.get("params") or {}), **endpoint.params},
            "timeout": (endpoint.connect_timeout, timeout),
            "verify": self._verify,
            "cert": certificate,
            # A server on 127.0.0.1 is never behind a proxy.
            "proxies": get_environ_proxies(endpoint.address) if endpoint.outside else None,
            "allow_redirects": False,  # a token must not follow one to another server
            "stream": True,  # `_whole` reads it, and not without end
        }


class Client:
    """What every client of a server has. Its public methods say of an answer of another form that it is none.

    misread: what comes of reading one.
    """

    misread: tuple[type[Exception], ...] = (AttributeError, IndexError, KeyError, TypeError, ValueError)

    def __init_subclass__(cls) -> None:
        for name, method in list(vars(cls).items()):
            if isfunction(method) and not name.startswith("_"):
                setattr(cls, name, guarded(method))

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.address = endpoint.address
        self.session = Session(endpoint)

    def read(self, form: Callable[[Any], Answer], path: str, **params: str | float | None) -> Answer:
        """What `form` makes of a JSON answer."""
        return form(self.session.request("GET", path, params=params).json())


def _adapter(path: str) -> HTTPAdapter:
    return SocketAdapter(path, CONNECTIONS) if path else HTTPAdapter(pool_maxsize=CONNECTIONS)


def _try(send: _Send, call: Call, *, retry: bool) -> requests.Response:
    try:
        return send()
    except UnicodeEncodeError:
        hint = "look for bytes that are no UTF-8 in what you typed or configured"
        raise Rejected(f"a call of {call.endpoint} would have characters that no text has", hint=hint) from None
    except OSError as error:  # also each error of requests
        if retry and is_dropped(error):
            return _try(send, call, retry=False)
        raise call.failure(error) from error


def _whole(send: _Send, call: Call) -> requests.Response:
    """The answer with all of its body, which is in memory from here on. Raises ServerFailed when that has no end."""
    response = send()
    body, ends = bytearray(), SYSTEM_CLOCK.monotonic() + LONGEST_ANSWER
    for chunk in response.iter_content(_CHUNK):
        body += chunk
        if len(body) > LARGEST_ANSWER or SYSTEM_CLOCK.monotonic() > ends:
            response.close()
            raise call.endless(f"{LARGEST_ANSWER / 1e6:g} MB", f"{LONGEST_ANSWER:g} s")
    response._content = bytes(body)  # where requests itself puts it
    return response


def _sendable(token: str, endpoint: Endpoint) -> str:
    """The token, unless a header cannot hold it. Checked here because the error of requests would show the token."""
    if token.isascii() and token.isprintable():
        return token
    name = endpoint.origin or (f"{endpoint.key}.token" if endpoint.key else "the token")
    what = f"{name} holds characters that no token has, such as a line break"
    raise ObsctlError(what, hint=f"look at where {name} comes from")


def _trust_store() -> str | bool:
    """The CAs to trust when none is configured: what the environment names, else the machine's own.

    SSL_CERT_FILE and SSL_CERT_DIR count for the nomad and consul programs as well; REQUESTS_CA_BUNDLE is what
    Python programs know. `True` is the list that comes with requests, for machines that have none.
    """
    paths = ssl.get_default_verify_paths()
    return os.environ.get("REQUESTS_CA_BUNDLE") or paths.cafile or paths.capath or True
