"""Where a server answers, and how a client proves who it is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server's HTTP API.

    address: URL with its scheme. down: the hint for when it does not answer.
    key: its section in obsctl.yaml; "" for the stack's own programs, which have none.
    timeout: seconds to wait for an answer, and between two parts of it. connect_timeout: for a connection.
    token: goes into the header `token_header` and nowhere else. origin: whence it came, in words; default: the
    `token` of its section.
    params: query parameters of every call; None takes a parameter away, whoever set it.
    socket: the path of the Unix socket where it listens; the host of its address is then a mere name.
    outside: whether it may lie beyond a proxy, so that HTTPS_PROXY and NO_PROXY of the environment count.
    """

    name: str
    address: str
    down: str
    key: str = ""
    timeout: float = 10.0
    connect_timeout: float = 5.0
    token: str | None = field(default=None, repr=False)
    origin: str = ""
    token_header: str = field(default="Authorization")
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    params: Mapping[str, str | None] = field(default_factory=dict)
    socket: str = ""
    outside: bool = False

    def __str__(self) -> str:
        return f"{self.name} at {self.socket or self.address}"
