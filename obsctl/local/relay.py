"""Delays what goes between two ends of a network: a program of its own, which uses nothing of obsctl.

It makes two TAP devices. What comes in at one goes out at the other after the delay, in the same order. It keeps a
bounded number of frames and drops what is more, as a router does.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque
from contextlib import suppress

MOST_FRAMES = 10_000
LARGEST_FRAME = 65_536
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


def _tap(name: str) -> int:
    """The descriptor of a new device, which lasts as long as this process."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return device


def _relay(near: int, far: int, delay: float) -> None:
    other = {near: far, far: near}
    waiting: deque[tuple[float, int, bytes]] = deque()
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select([near, far], [], [], timeout)
        for device in readable:
            with suppress(OSError):  # the device is down
                frame = os.read(device, LARGEST_FRAME)
                if len(waiting) < MOST_FRAMES:
                    waiting.append((time.monotonic() + delay, other[device], frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, device, frame = waiting.popleft()
            with suppress(OSError):
                os.write(device, frame)


if __name__ == "__main__":
    _relay(_tap(sys.argv[1]), _tap(sys.argv[2]), float(sys.argv[3]))
