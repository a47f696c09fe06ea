"""Ports for servers and clusters that tests start: each worker has its share."""

from __future__ import annotations

import itertools
import os
import random
import socket

from obsctl.local.ports import Ports

SHARES = 8
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % SHARES
# Below the range from which outgoing connections take theirs, and clear of the blocks of local clusters and of what the
# agents of machines have. Two workers that looked at the same moment would find the same port free.
_SHARE = [port for port in range(5100, 8300) if port not in Ports().by_use().values()][WORKER::SHARES]
_OWN = itertools.cycle(random.SystemRandom().sample(_SHARE, k=len(_SHARE)))


def free_port() -> int:
    """A port that nobody listens on, and that is not given again soon."""
    return next(port for port in itertools.islice(_OWN, len(_SHARE)) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
