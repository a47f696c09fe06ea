"""Delays what goes between two devices of a network: a program of its own, which uses nothing of obsctl.

What comes in at one goes out at the other after the delay, in the same order. It keeps a bounded number of frames and
drops what is more, as a router does. It reads and writes them by packet sockets, which the root of a namespace may have
without a right outside of it: the device /dev/net/tun is closed to users on many machines.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import sys
import time
from collections import deque
from contextlib import suppress

MOST_FRAMES = 10_000
LARGEST_FRAME = 66_000
"""Bytes: a kernel hands on what it has not cut into packets yet, with a header that says so."""
_SOL_PACKET, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING = 263, 15, 23
_ETH_P_ALL = 0x0003
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x0001


def _socket(device: str) -> int:
    """The descriptor of what reads and writes the frames of a device."""
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    packets.setblocking(False)
    for option in (_PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING):
        packets.setsockopt(_SOL_PACKET, option, 1)
    packets.bind((device, _ETH_P_ALL))
    return packets.detach()


def _set_up(device: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        name = device.encode()
        _, flags = struct.unpack("16sH22x", fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sH22x", name, 0)))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", name, flags | _IFF_UP))


def _relay(cable: int, near: int, delay: float) -> None:
    other = {cable: near, near: cable}
    waiting: deque[tuple[float, int, bytes]] = deque()
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select([cable, near], [], [], timeout)
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
    sockets = _socket(sys.argv[1]), _socket(sys.argv[2])
    _set_up(sys.argv[2])  # others see by this that it is at work
    _relay(*sockets, float(sys.argv[3]))
