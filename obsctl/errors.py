"""The errors that a user may see: a sentence, a hint, an exit code."""

from __future__ import annotations


class ObsctlError(Exception):
    """Something failed, and the user can act on it.

    message: one sentence that says what is wrong and where. hint: what to do next, if possible the command to type.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Interrupted(ObsctlError):
    """The user or the system asked the command to stop (Ctrl-C, SIGTERM, SIGHUP)."""

    exit_code = 130


class Bug(ObsctlError):
    """Something in obsctl itself is wrong."""

    exit_code = 3


class DeadlineExceeded(ObsctlError):
    """A condition was not met in time."""


class ApiError(ObsctlError):
    """A server answered with an error, or did not answer."""


class Unreachable(ApiError):
    """No connection: refused, no route, no such host, TLS failed."""


class TimedOut(ApiError):
    """There was a connection, and no answer within the timeout of the client."""


class Forbidden(ApiError):
    """401 or 403: the token is missing, wrong, or not allowed to do this."""


class NotFound(ApiError):
    """404: the object does not exist."""


class Conflict(ApiError):
    """409, or a check-and-set that failed: another client changed the object meanwhile."""


class Rejected(ApiError):
    """Any other 4xx: the server says that the request is wrong."""


class ServerFailed(ApiError):
    """5xx: the server failed."""
