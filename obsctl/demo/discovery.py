"""How the demo programs read Consul: healthy instances of a service, and one key. Every call has its timeouts."""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import dataclass, field
from urllib.parse import quote

import requests

from obsctl.errors import Forbidden, NotFound, Rejected, ServerFailed, TimedOut, Unreachable
from obsctl.wait import SYSTEM_CLOCK, Clock

CONNECT_TIMEOUT = 1.0
READ_TIMEOUT = 2.0
CACHE_SECONDS = 1.0
# What hello-service takes for all attempts to get one phrase.
CALL_SECONDS = 3.0

_log = logging.getLogger("obsctl")


def get(
    url: str,
    *,
    headers: dict[str, str] | None = None,
    read_timeout: float = READ_TIMEOUT,
    verify: bool | str = True,
) -> requests.Response:
    """GET, whatever the status of the answer. Raises Unreachable or TimedOut."""
    try:
        with requests.Session() as session:
            session.trust_env = False  # instances are called directly, not through a proxy of the environment
            timeout = (CONNECT_TIMEOUT, read_timeout)
            return session.get(url, headers=headers, timeout=timeout, verify=verify, allow_redirects=False)
    except requests.Timeout as error:
        raise TimedOut(f"{url} did not answer in time", hint="look at that program's log") from error
    except requests.RequestException as error:
        raise Unreachable(f"{url} cannot be reached", hint="see whether that program runs") from error


@dataclass(frozen=True, slots=True)
class Consul:
    """A Consul agent's HTTP API. ca_file: what signed its certificate, if not a public authority."""

    address: str
    token: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    def passing(self, service: str) -> tuple[str, ...]:
        """Base URLs of the instances whose checks all pass."""
        answer = self._get(f"/v1/health/service/{quote(service, safe='')}?passing=1")
        try:
            return tuple(_base_url(instance) for instance in answer.json())
        except (ValueError, KeyError, TypeError) as error:
            raise ServerFailed(
                f"{self.address} did not answer like Consul", hint="see that --consul names a Consul agent"
            ) from error

    def value(self, key: str) -> bytes:
        """The value of a KV entry. Raises NotFound when there is none."""
        return self._get(f"/v1/kv/{quote(key)}?raw").content

    def _get(self, path: str) -> requests.Response:
        headers = {"X-Consul-Token": self.token} if self.token else None
        answer = get(self.address + path, headers=headers, verify=self.ca_file or True)
        what = f"Consul at {self.address} answered {answer.status_code} to GET {path}"
        if answer.status_code == 404:
            raise NotFound(what, hint="consul kv put creates a key")
        if answer.status_code in (401, 403):
            raise Forbidden(what, hint="give a token that may read this in CONSUL_HTTP_TOKEN")
        if answer.status_code >= 500:
            raise ServerFailed(what, hint="see that Consul has a leader: consul operator raft list-peers")
        if answer.status_code != 200:
            raise Rejected(what, hint="see that --consul names a Consul agent")
        return answer


def _base_url(instance: dict[str, dict[str, object]]) -> str:
    host = str(instance["Service"]["Address"] or instance["Node"]["Address"])
    return f"http://{f'[{host}]' if ':' in host else host}:{instance['Service']['Port']}"


class Discovery:
    """Picks an instance of a service, asking Consul at most once a second for each service.

    When Consul does not answer, the last instances it named are used.
    """

    def __init__(self, consul: Consul, clock: Clock = SYSTEM_CLOCK) -> None:
        self._consul = consul
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
        """Whether there is a healthy instance."""
        return bool(self._instances(service))

    def _instances(self, service: str) -> tuple[str, ...]:
        with self._lock:
            asked_at, known = self._known.get(service, (float("-inf"), ()))
            if self._clock.monotonic() - asked_at >= CACHE_SECONDS:
                known = self._ask(service, known)
                self._known[service] = (self._clock.monotonic(), known)
            return known

    def _ask(self, service: str, known: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return self._consul.passing(service)
        except (Unreachable, TimedOut, ServerFailed) as error:
            _log.warning("%s; the last known instances of %s are used", error.message, service)
            return known
