"""How the demo programs find each other through Consul, and how they call an instance. Every call has its timeouts."""

from __future__ import annotations

import logging
import random
import threading
from contextlib import suppress

import requests

from obsctl.clients.consul_api import ConsulClient
from obsctl.clients.endpoint import Endpoint
from obsctl.clients.instances import not_of_others, passes, url
from obsctl.clients.protocols import ConsulApi
from obsctl.errors import ApiError, ServerFailed, TimedOut, Unreachable
from obsctl.wait import SYSTEM_CLOCK, Clock

CONNECT_TIMEOUT = 1.0
READ_TIMEOUT = 2.0
CACHE_SECONDS = 1.0
# What hello-service takes for all attempts to get one phrase.
CALL_SECONDS = 3.0

_HEADER = "X-Consul-Token"
_log = logging.getLogger("obsctl")


def consul_at(
    address: str,
    *,
    token: str | None = None,
    ca_file: str | None = None,
    cert_file: str | None = None,
    key_file: str | None = None,
) -> ConsulApi:
    """Consul, with timeouts that suit a request which has to wait for its answer."""
    return ConsulClient(
        Endpoint(
            name="Consul",
            address=address,
            down="see that --consul names a Consul agent that runs, and that CONSUL_HTTP_TOKEN may read this",
            timeout=READ_TIMEOUT,
            connect_timeout=CONNECT_TIMEOUT,
            token=token,
            token_header=_HEADER,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
        )
    )


def get(url: str, *, read_timeout: float = READ_TIMEOUT) -> requests.Response:
    """GET from an instance, whatever the status of its answer. Raises Unreachable or TimedOut."""
    try:
        with requests.Session() as session:
            session.trust_env = False  # instances are called directly, not through a proxy of the environment
            return session.get(url, timeout=(CONNECT_TIMEOUT, read_timeout), allow_redirects=False)
    except requests.Timeout as error:
        raise TimedOut(f"{url} did not answer in time", hint="look at that program's log") from error
    except requests.RequestException as error:
        raise Unreachable(f"{url} cannot be reached", hint="see whether that program runs") from error


class Discovery:
    """Picks an instance of a service. It asks Consul at most once a second for each service.

    When Consul does not answer, it uses the last instances that Consul named.
    """

    def __init__(self, consul: ConsulApi, clock: Clock = SYSTEM_CLOCK, *, stack: str | None = None) -> None:
        """stack: what another stack runs does not count; None: everything counts."""
        self._consul = consul
        self._stack = stack
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}

    def pick(self, service: str) -> str:
        """The base URL of one healthy instance. Raises Unreachable when there is none."""
        instances = self._instances(service)
        if not instances:
            raise Unreachable(
                f"no healthy instance of {service} is known", hint="see whether it runs, and its checks in Consul"
            )
        return random.choice(instances)

    def has(self, service: str) -> bool:
        """Whether Consul knows a healthy instance."""
        with suppress(ApiError):
            return bool(self._instances(service))
        return False

    def _instances(self, service: str) -> tuple[str, ...]:
        with self._lock:
            asked_at, known = self._known.get(service, (float("-inf"), ()))
            if self._clock.monotonic() - asked_at >= CACHE_SECONDS:
                known = self._ask(service, known)
                self._known[service] = (self._clock.monotonic(), known)
            return known

    def _ask(self, service: str, known: tuple[str, ...]) -> tuple[str, ...]:
        try:
            instances = filter(passes, self._consul.health(service))
            return tuple(url(each) for each in instances if self._stack is None or not_of_others(each, self._stack))
        except (Unreachable, TimedOut, ServerFailed) as error:
            _log.warning("%s; the last known instances of %s are used", error.message, service)
            return known
