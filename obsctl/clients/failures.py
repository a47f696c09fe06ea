"""What went wrong with a call, as one of obsctl.errors: which server, which call, its own words, what to do."""

from __future__ import annotations

import ssl
from collections.abc import Container
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import DecodeError, HTTPError, ProtocolError, ReadTimeoutError

from obsctl.clients.endpoint import Endpoint
from obsctl.errors import (
    ApiError,
    Conflict,
    Forbidden,
    NotFound,
    Rejected,
    ServerFailed,
    TimedOut,
    Unreachable,
)

NOT_FOUND = 404
_QUOTED_CHARACTERS = 300
_BY_STATUS = {401: Forbidden, 403: Forbidden, NOT_FOUND: NotFound, 409: Conflict}
_HINTS: dict[type[ApiError], str] = {
    NotFound: "check the name; `obsctl status` shows what there is",
    Conflict: "somebody else changed it meanwhile: run the command again",
    Rejected: "the server's words say what it does not accept",
    ServerFailed: "try again; if it stays so, the log of {name} says why",
}


def is_dropped(error: requests.RequestException) -> bool:
    """Whether the server closed the connection instead of answering."""
    return isinstance(_cause(error), ProtocolError)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, and how to say what went wrong with it."""

    endpoint: Endpoint
    method: str
    path: str
    timeout: float
    quote: bool = True

    def check(self, response: requests.Response, *, text: bool, accept: Container[int] = ()) -> None:
        """Raise unless this is a 2xx answer, or an accepted one, of the expected form."""
        status = response.status_code
        if _is_hidden(response, self.endpoint):
            raise self._error(Forbidden, "hides what was asked for, because of its ACLs")
        if status in accept:
            return
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
        except (ValueError, RecursionError):
            text_instead = f"answered something that is not JSON{self._words(response)}"
            raise self._error(ServerFailed, text_instead, self.endpoint.down) from None

    def failure(self, error: requests.RequestException) -> ApiError:
        """The ApiError for a request that got no whole answer."""
        cause = _cause(error)
        if isinstance(error, requests.ReadTimeout) or isinstance(cause, ReadTimeoutError):
            return self._error(TimedOut, f"did not answer within {self.timeout:g} s{self._doubt()}")
        if isinstance(error, requests.ConnectTimeout):
            return self._error(
                Unreachable, f"cannot be reached: no connection within {self.endpoint.connect_timeout:g} s"
            )
        if isinstance(error, requests.exceptions.SSLError):
            text = f"cannot be reached: TLS failed: {_reason(cause)}"
            return self._error(Unreachable, text, self._tls_hint())
        if isinstance(cause, ProtocolError | DecodeError):
            return self._error(ServerFailed, f"broke off its answer: {_reason(cause)}{self._doubt()}")
        return self._error(Unreachable, f"cannot be reached: {_reason(cause)}")

    def unusable(self, error: OSError) -> ApiError:
        """The ApiError for a request that could not even be made."""
        return self._error(Unreachable, f"cannot be reached: {error}", self._tls_hint())

    def _error(self, kind: type[ApiError], text: str, hint: str = "") -> ApiError:
        return kind(f"{self.endpoint} {text} ({self.method} {self.path})", hint=hint or self._hint(kind))

    def _doubt(self) -> str:
        """What nobody can know about a write whose answer never came."""
        return "" if self.method == "GET" else "; it may have been done all the same"

    def _words(self, response: requests.Response) -> str:
        """The server's own words, short and on one line."""
        words = " ".join(_said(response).split()) if self.quote else ""
        if self.endpoint.token:
            words = words.replace(self.endpoint.token, "***")
        return f": {words[:_QUOTED_CHARACTERS]}" if words else ""

    def _hint(self, kind: type[ApiError]) -> str:
        key, name = self.endpoint.key, self.endpoint.name
        if kind is Forbidden and key:
            given = f"{key}.token is unknown to {name}, or its policies do not allow this"
            return given if self.endpoint.token else f"{name} wants a token: set {key}.token in obsctl.yaml"
        if kind is TimedOut and key:
            return f"if {name} is only slow, raise {key}.timeout in obsctl.yaml"
        if kind in _HINTS:
            return _HINTS[kind].format(name=name)
        return self.endpoint.down

    def _tls_hint(self) -> str:
        if not self.endpoint.key:
            return self.endpoint.down
        return (
            f"check {self.endpoint.key}.tls.ca_file (the CA that signed the server's certificate), "
            f"cert_file and key_file in obsctl.yaml"
        )


def _said(response: requests.Response) -> str:
    """The text of an error answer; of a JSON one the part meant for people, as Prometheus sends it."""
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return response.text
    return str(answer.get("error") or answer) if isinstance(answer, dict) else str(answer)


def _is_hidden(response: requests.Response, endpoint: Endpoint) -> bool:
    """Whether Consul answered with nothing because the token may not see it: it calls that success, not 403.

    Taken at its word, a service would be down and a session gone that are only hidden. Of the anonymous token
    Consul does not tell, so without a token and with a policy of "deny" nothing is never believed.
    """
    if response.status_code != NOT_FOUND and response.content.strip() not in (b"[]", b"{}"):
        return False
    filtered = response.headers.get("X-Consul-Results-Filtered-By-ACLs") == "true"
    denied = response.headers.get("X-Consul-Default-ACL-Policy") == "deny"
    return filtered or (denied and not endpoint.token)


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
