"""Who may keep a connection: neither a slow sender nor one that opens hundreds keeps others out or fills memory."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from obsctl.wait import Clock

REQUEST_SECONDS = 5.0
"""For a whole request, from the connection or its first byte on."""
ANSWER_SECONDS = 60.0
"""For reading an answer to its end."""
STALL_SECONDS = 5.0
"""For reading any more of it."""
MAX_CONNECTIONS = 256
"""With more, the one that waits for its client longest is closed for each new one."""
LOG_PAUSE = 60.0

_REQUEST, _ANSWER, _NOTHING = "a request", "an answer to be read", "another request"
_SECONDS = {_REQUEST: REQUEST_SECONDS, _ANSWER: ANSWER_SECONDS}
_log = logging.getLogger("obsctl")


@dataclass(frozen=True, slots=True)
class Wait:
    """What a connection's client has to do next, and since when. request: the half-sent one, if there is one."""

    what: str
    request: object
    since: float

    def is_over(self, now: float) -> bool:
        return now - self.since > _SECONDS.get(self.what, float("inf"))


class Connections:
    """Looks at the server's connections again and again. They are waitress's channels; a channel whose request we work
    on waits for nobody, so it is left alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waits: dict[Any, Wait] = {}
        self._closed = 0
        self._logged_at = float("-inf")

    def look(self, channels: Collection[Any]) -> None:
        """Close those that took too long, and those that are too many. Only for the thread that serves the sockets."""
        now = self._clock.monotonic()
        self._waits = {channel: wait for channel in channels if (wait := self._wait(channel, now))}
        late = [each for each, wait in self._waits.items() if wait.is_over(now) or self._stalls(each, wait)]
        rest = sorted(self._waits.keys() - set(late), key=lambda channel: self._waits[channel].since)
        surplus = max(0, len(channels) - len(late) - MAX_CONNECTIONS)
        for channel in (*late, *rest[:surplus]):
            self._close(channel)
        if self._closed and now - self._logged_at >= LOG_PAUSE:
            _log.warning("closed %d connections that were slow or too many", self._closed)
            self._closed, self._logged_at = 0, now

    def _wait(self, channel: Any, now: float) -> Wait | None:
        """None while it waits for us."""
        if channel.total_outbufs_len:
            wait = Wait(_ANSWER, None, now)
        elif channel.requests:
            return None
        elif channel.request or channel.last_activity == channel.creation_time:
            wait = Wait(_REQUEST, channel.request, now)
        else:
            wait = Wait(_NOTHING, None, now)
        before = self._waits.get(channel)
        return before if before and (before.what, before.request) == (wait.what, wait.request) else wait

    def _stalls(self, channel: Any, wait: Wait) -> bool:
        return wait.what == _ANSWER and self._clock.now() - channel.last_activity > STALL_SECONDS

    def _close(self, channel: Any) -> None:
        self._closed += 1
        del self._waits[channel]
        if channel.request:
            channel.request.close()  # its body may be a file
        channel.handle_close()
