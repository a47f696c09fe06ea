"""The one HTTP session beneath every client, python-nomad and py-consul included.

Libraries choose their own timeouts, TLS checks, tokens and environment variables. None of that counts here:
whatever they pass, `Session.request` sends what the configuration says, and turns every failure into one of
obsctl.errors. Those are no requests exceptions, so they pass through the libraries' own `except` clauses.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from urllib3.exceptions import DecodeError, HTTPError, InsecureRequestWarning, ProtocolError, ReadTimeoutError

from obsctl import __version__
from obsctl.errors import (
    ApiError,
    Conflict,
    Forbidden,
    NotFound,
    ObsctlError,
    Rejected,
    ServerFailed,
    TimedOut,
    Unreachable,
)

CONNECT_TIMEOUT = 5.0
_QUOTED_CHARACTERS = 300
_TOKEN_HEADERS = {"authorization", "x-nomad-token", "x-consul-token"}
_BY_STATUS = {401: Forbidden, 403: Forbidden, 404: NotFound, 409: Conflict}


@dataclass(frozen=True, slots=True)
class Server:
    """A server as the configuration describes it.

    key: its section in obsctl.yaml, "" for the stack's own servers, which have none.
    down: the hint for when it does not answer.
    timeout: seconds to wait for an answer, and between two parts of it.
    token: goes into the header `token_header` and nowhere else.
    params: query parameters of every call; None takes a parameter away, whoever set it.
    """

    name: str
    address: str
    down: str
    key: str = ""
    timeout: float = 10.0
    token: str | None = field(default=None, repr=False)
    token_header: str = ""
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    params: Mapping[str, str | None] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} at {self.address}"


class Session(requests.Session):
    """requests, bound to one server. Every method takes a path ("/v1/jobs") or a whole URL of that server.

    Raises only obsctl.errors. A read is tried once more when a kept-alive connection turns out to be dead;
    nothing else is repeated. Safe to share between threads.
    """

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        # No proxies, no netrc, nothing of the environment: a server on 127.0.0.1 is never behind a proxy.
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
        verb = str(method).upper()
        path = urlsplit(str(url)).path
        call = _Call(self.server, f"{verb} {path}", self.server.timeout + wait, quote)
        options = {**kwargs, **self._enforced(kwargs, wait)}
        response = self._send(call, verb, _absolute(self.server.address, str(url)), args, options)
        if response.status_code not in accept:
            call.check(response, text=text)
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
            raise ServerFailed(
                f"{self.server} gave no usable Date header: {date!r}", hint=self.server.down
            ) from None

    def _enforced(self, given: Mapping[str, Any], wait: float) -> dict[str, Any]:
        """What the configuration decides, over whatever a library passed."""
        server = self.server
        headers = {
            name: value
            for name, value in (given.get("headers") or {}).items()
            if name.lower() not in _TOKEN_HEADERS
        }
        certificate = (server.cert_file, server.key_file) if server.cert_file else None
        return {
            "headers": headers,
            "params": {**(given.get("params") or {}), **server.params},
            "timeout": (CONNECT_TIMEOUT, server.timeout + wait),
            "verify": self._verify,
            "cert": certificate,
            "proxies": None,
            "allow_redirects": False,  # a token must not follow one to another server
        }

    def _send(
        self, call: _Call, method: str, url: str, args: tuple[Any, ...], options: dict[str, Any]
    ) -> requests.Response:
        try:
            return super().request(method, url, *args, **options)
        except requests.RequestException as error:
            if method != "GET" or not isinstance(_cause(error), ProtocolError):
                raise call.failure(error) from error
        except OSError as error:  # a certificate file that is not there
            raise call.unusable(error) from error
        try:
            return super().request(method, url, *args, **options)
        except requests.RequestException as error:
            raise call.failure(error) from error


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, and how to say what went wrong with it."""

    server: Server
    what: str
    timeout: float
    quote: bool

    def check(self, response: requests.Response, *, text: bool) -> None:
        """Raise unless this is a 2xx answer of the expected form."""
        status = response.status_code
        if 300 <= status < 400:
            raise self._error(
                Rejected, f"answered {status}, a redirect to {_target(response)}", self._hint(Unreachable)
            )
        if not response.ok:
            kind = _BY_STATUS.get(status, Rejected if status < 500 else ServerFailed)
            raise self._error(kind, f"answered {status}{self._words(response)}")
        if text or not response.content:
            return
        try:
            response.json()
        except ValueError:
            text_instead = f"answered something that is not JSON{self._words(response)}"
            raise self._error(ServerFailed, text_instead, self.server.down) from None

    def failure(self, error: requests.RequestException) -> ApiError:
        """The ApiError for a request that got no whole answer."""
        cause = _cause(error)
        if isinstance(error, requests.ReadTimeout) or isinstance(cause, ReadTimeoutError):
            return self._error(TimedOut, f"did not answer within {self.timeout:g} s")
        if isinstance(error, requests.ConnectTimeout):
            return self._error(Unreachable, f"cannot be reached: no connection within {CONNECT_TIMEOUT:g} s")
        if isinstance(error, requests.exceptions.SSLError):
            text = f"cannot be reached: TLS failed: {_reason(cause)}"
            return self._error(Unreachable, text, self._tls_hint())
        if isinstance(cause, ProtocolError | DecodeError):
            return self._error(ServerFailed, f"broke off its answer: {_reason(cause)}")
        return self._error(Unreachable, f"cannot be reached: {_reason(cause)}")

    def unusable(self, error: OSError) -> ApiError:
        """The ApiError for a request that could not even be made."""
        return self._error(Unreachable, f"cannot be reached: {error}", self._tls_hint())

    def _error(self, kind: type[ApiError], text: str, hint: str = "") -> ApiError:
        return kind(f"{self.server} {text} ({self.what})", hint=hint or self._hint(kind))

    def _words(self, response: requests.Response) -> str:
        """The server's own words, short and on one line."""
        words = " ".join(_said(response).split()) if self.quote else ""
        if self.server.token:
            words = words.replace(self.server.token, "***")
        return f": {words[:_QUOTED_CHARACTERS]}" if words else ""

    def _hint(self, kind: type[ApiError]) -> str:
        key, name = self.server.key, self.server.name
        if kind is Forbidden and key:
            given = f"{key}.token is unknown to {name}, or its policies do not allow this"
            return given if self.server.token else f"{name} wants a token: set {key}.token in obsctl.yaml"
        if kind is TimedOut and key:
            return f"if {name} is only slow, raise {key}.timeout in obsctl.yaml"
        if kind in _HINTS:
            return _HINTS[kind].format(name=name)
        return self.server.down

    def _tls_hint(self) -> str:
        if not self.server.key:
            return self.server.down
        return (
            f"check {self.server.key}.tls.ca_file (the CA that signed the server's certificate), "
            f"cert_file and key_file in obsctl.yaml"
        )


_HINTS: dict[type[ApiError], str] = {
    NotFound: "check the name; `obsctl status` shows what there is",
    Conflict: "somebody else changed it meanwhile: run the command again",
    Rejected: "the server's words say what it does not accept",
    ServerFailed: "try again; if it stays so, the log of {name} says why",
}


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


def _said(response: requests.Response) -> str:
    """The text of an error answer; of a JSON one the part meant for people, as Prometheus sends it."""
    try:
        answer = response.json()
    except ValueError:
        return response.text
    return str(answer.get("error") or answer) if isinstance(answer, dict) else str(answer)


def _target(response: requests.Response) -> str:
    location = urlsplit(response.headers.get("Location", ""))
    return f"{location.scheme}://{location.netloc}{location.path}" if location.netloc else location.path


def _cause(error: requests.RequestException) -> BaseException:
    """The urllib3 error inside a requests one: the first argument, or the `reason` within that."""
    inner = next((part for part in error.args if isinstance(part, HTTPError)), error)
    return getattr(inner, "reason", None) or inner


def _reason(error: BaseException) -> str:
    """The innermost words: "Connection refused" rather than a chain of reprs."""
    while isinstance(error.__cause__, BaseException):
        error = error.__cause__
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error.args[-1] if error.args else error)
