"""A server as a client needs to know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Server:
    """A server as the configuration describes it.

    key: its section in obsctl.yaml, "" for the stack's own servers, which have none.
    down: the hint for when it does not answer.
    timeout: seconds to wait for an answer, and between two parts of it.
    token: goes into the header `token_header` and nowhere else.
    params: query parameters of every call; None takes a parameter away, whoever set it.
    outside: whether it may lie beyond a proxy, so that HTTPS_PROXY and NO_PROXY of the environment count.
    """

    name: str
    address: str
    down: str
    key: str = ""
    timeout: float = 10.0
    token: str | None = field(default=None, repr=False)
    token_header: str = field(default="Authorization")
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    params: Mapping[str, str | None] = field(default_factory=dict)
    outside: bool = False

    def __str__(self) -> str:
        return f"{self.name} at {self.address}"
