"""A network of its own for commands that take the well-known ports, whatever else listens on this machine."""

from __future__ import annotations

import os

# Not a user namespace for root: Nomad gives its folders to nobody, whom that does not have.
UNSHARE = ["unshare", "--net", *(["--mount"] if os.geteuid() == 0 else ["--map-current-user", "--keep-caps"])]
LOOPBACK_UP = """
import fcntl, socket, struct
SIOCSIFFLAGS, IFF_UP_AND_RUNNING = 0x8914, 0x41
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP_AND_RUNNING))
"""
