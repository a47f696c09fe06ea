"""What went wrong with a call, as one of obsctl.errors: which server, which call, what the server said, what to do."""

from __future__ import annotations

import ssl
from collections.abc import Container
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import DecodeError, HTTPError, ProtocolError, ReadTimeoutError

from obsctl import rights
from obsctl.clients import misdirected
from obsctl.clients.endpoint import Endpoint
from obsctl.clients.misdirected import NOT_FOUND
from obsctl.errors import ApiError, Conflict, Forbidden, NotFound, Rejected, ServerFailed, TimedOut, Unreachable

_QUOTED_CHARACTERS = 300
_DENIED = "Permission denied"
"""Consul answers a transaction that the token may not make with 409 and these words."""
_BY_STATUS = {401: Forbidden, 403: Forbidden, NOT_FOUND: NotFound, 409: Conflict}
_HINTS: dict[type[ApiError], str] = {
    NotFound: "check the name; `obsctl status` shows what there is",
    Conflict: "somebody else has changed it: run the command again",
    Rejected: "the server's answer says what it does not accept",
    ServerFailed: "try again; if it fails again, the log of {name} says why",
}
_TLS = (
    (
        ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"),
        "the client certificate and its key do not belong together",
        "give in {key}.tls.key_file the key with which the certificate of {key}.tls.cert_file was made",
    ),
    (
        ("PEM lib", "NO_START_LINE"),
        "the client certificate or its key cannot be read as PEM",
        "check that {key}.tls.cert_file is the certificate and {key}.tls.key_file its key, and not the other way round",
    ),
    (
        ("CERTIFICATE_REQUIRED",),
        "the server wants a client certificate",
        "set {key}.tls.cert_file and {key}.tls.key_file in obsctl.yaml",
    ),
    (
        ("WRONG_VERSION_NUMBER", "record layer failure", "RECORD_LAYER_FAILURE"),
        "the server speaks no TLS on this port",
        "write http:// in {key}.address in obsctl.yaml, or give its port with TLS",
    ),
)
"""Words of OpenSSL -> what they mean, and what to do."""


def is_dropped(error: OSError) -> bool:
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
        if who := misdirected.stranger(response, self.endpoint, self.path):
            what = f"what answers at {self.endpoint.address} is {who} ({self.method} {self.path})"
            raise ServerFailed(what, hint=self._whereabouts())
        if _is_hidden(response, self.endpoint):
            raise self._error(Forbidden, "hides what was asked for, because of its ACLs")
        if status in accept:
            return
        if 300 <= status < 400:
            target = urlsplit(response.headers.get("Location", ""))._replace(query="", fragment="").geturl()
            raise self._error(Rejected, f"answered {status}, a redirect to {target}", self.endpoint.down)
        if not response.ok:
            kind = _BY_STATUS.get(status, Rejected if status < 500 else ServerFailed)
            kind = Forbidden if kind is Conflict and _DENIED in response.text else kind
            hint = misdirected.way(response, self.endpoint)
            raise self._error(kind, f"answered {status}{self._words(response)}", hint)
        if text or not response.content:
            return
        try:
            response.json()
        except (ValueError, RecursionError):
            no_json = f"answered something that is not JSON{self._words(response)}"
            raise self._error(ServerFailed, no_json, self.endpoint.down) from None

    def failure(self, error: OSError) -> ApiError:
        """The ApiError for a request that got no whole answer."""
        cause = _cause(error)
        if not isinstance(error, requests.RequestException):  # requests looks for certificate files before it calls
            return self._error(Unreachable, f"cannot be reached: {error}", self._tls_hint())
        if isinstance(error, requests.ReadTimeout) or isinstance(cause, ReadTimeoutError):
            return self._error(TimedOut, f"did not answer within {self.timeout:g} s{self._doubt()}")
        if isinstance(error, requests.ConnectTimeout):
            seconds = f"{self.endpoint.connect_timeout:g} s"
            return self._error(Unreachable, f"cannot be reached: no connection within {seconds}")
        if isinstance(error, requests.exceptions.SSLError):
            reason, hint = self._tls(_reason(cause))
            return self._error(Unreachable, f"cannot be reached: TLS failed: {reason}", hint)
        if isinstance(cause, ProtocolError | DecodeError):
            return self._error(ServerFailed, f"broke off its answer: {_reason(cause)}{self._doubt()}")
        return self._error(Unreachable, f"cannot be reached: {_reason(cause)}")

    def endless(self, size: str, time: str) -> ApiError:
        """The ApiError for an answer that is too long to be one."""
        text = f"sends an answer of more than {size}, or for more than {time}: that is no answer"
        return self._error(ServerFailed, text, self.endpoint.down)

    def _error(self, kind: type[ApiError], text: str, hint: str = "") -> ApiError:
        return kind(f"{self.endpoint} {text} ({self.method} {self.path})", hint=hint or self._hint(kind))

    def _doubt(self) -> str:
        """Nobody knows the effect of a write whose answer never came."""
        return "" if self.method == "GET" else "; the change may have been made all the same"

    def _words(self, response: requests.Response) -> str:
        """The server's own words, short and on one line."""
        words = " ".join(_text(response).split()) if self.quote else ""
        if self.endpoint.token:
            words = words.replace(self.endpoint.token, "***")
        return f": {words[:_QUOTED_CHARACTERS]}" if words else ""

    def _hint(self, kind: type[ApiError]) -> str:
        key, name = self.endpoint.key, self.endpoint.name
        if kind is Forbidden and key:
            if not self.endpoint.token:
                more = " to a management token; obsctl setup takes one by --token, too" if self._is_of_acls() else ""
                return f"{name} wants a token: set {key}.token in obsctl.yaml{more}"
            token = self.endpoint.origin or f"{key}.token"
            return f"{token} is unknown to {name}, or has expired, or its policies do not allow this{self._rules()}"
        if kind is TimedOut and key:
            return f"if {name} is only slow, raise {key}.timeout in obsctl.yaml"
        if kind in _HINTS:
            return _HINTS[kind].format(name=name)
        return self.endpoint.down

    def _rules(self) -> str:
        if self._is_of_acls():
            return "; the call takes a management token"
        namespace = self.endpoint.params.get("namespace") or "default"
        rules = rights.needed(self.endpoint.key, self.method, self.path, namespace)
        return f"; what the call takes: {', '.join(rules)} (see `obsctl policies`)" if rules else ""

    def _is_of_acls(self) -> bool:
        return self.path.startswith("/v1/acl/")

    def _whereabouts(self) -> str:
        return (
            f"set {self.endpoint.key}.address in obsctl.yaml to the address of {self.endpoint.name}; see that "
            "nomad.address and consul.address are not in each other's place"
        )

    def _tls(self, reason: str) -> tuple[str, str]:
        """Why TLS failed, and what to do."""
        for codes, words, way in _TLS:
            if any(code in reason for code in codes):
                return words, way.format(key=self.endpoint.key) if self.endpoint.key else self.endpoint.down
        return reason, self._tls_hint()

    def _tls_hint(self) -> str:
        if not self.endpoint.key:
            return self.endpoint.down
        return (
            f"check {self.endpoint.key}.tls.ca_file (the CA that signed the server's certificate), "
            f"cert_file and key_file in obsctl.yaml"
        )


def _text(response: requests.Response) -> str:
    """The text of an error answer; of a JSON object its `error`, as Prometheus sends it."""
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return response.text
    return str(answer.get("error") or answer) if isinstance(answer, dict) else str(answer)


def _is_hidden(response: requests.Response, endpoint: Endpoint) -> bool:
    """Whether Consul's empty answer only means that the token may not see what there is; Consul calls that success.

    A hidden service would look down, and a hidden session gone. Consul does not say so to the anonymous token, so with
    a default policy of "deny" and without a token an empty answer never counts.
    """
    if response.status_code != NOT_FOUND and response.content.strip() not in (b"[]", b"{}"):
        return False
    filtered = response.headers.get("X-Consul-Results-Filtered-By-ACLs") == "true"
    denied = response.headers.get("X-Consul-Default-ACL-Policy") == "deny"
    return filtered or (denied and not endpoint.token)


def _cause(error: OSError) -> BaseException:
    """The urllib3 error inside an error of requests: an argument of it, or the `reason` within that."""
    inner = next((part for part in error.args if isinstance(part, HTTPError)), error)
    return getattr(inner, "reason", None) or inner


def _reason(error: BaseException) -> str:
    """The innermost text: "Connection refused" rather than a chain of reprs."""
    while isinstance(error.__cause__, BaseException):
        error = error.__cause__
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error.args[-1] if error.args else error)
