"""Commands that end together with obsctl, wherever it is interrupted and however it ends.

A signal may reach any thread, and Python raises KeyboardInterrupt between any two steps of the main one, also between
the start of a process and the moment when its id is known. So the command is not ended by its id. This file, run as a
supervisor, starts it in a process group of its own and holds one end of a connection to obsctl. When obsctl closes the
connection or ends, the supervisor ends the whole group.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def supervised(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], output: BinaryIO
) -> Iterator[subprocess.Popen[bytes]]:
    """The command's supervisor, which has the command's exit code. After the block neither runs any more, nor anything
    else in the command's process group. May be used in any thread."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = None
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, *command],
                cwd=cwd,
                env=env,
                stdin=theirs.fileno(),
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
            yield process
        finally:
            ours.shutdown(socket.SHUT_WR)
            theirs.close()
            ours.recv(1)  # returns when the supervisor has ended, because only it holds the other end
            if process:
                process.wait()


def _supervise(command: Sequence[str]) -> int:
    """Run the command, then end what it left running. Its exit code, or the number of the signal that ended it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=os.environ, process_group=0)
    threading.Thread(target=_end_with_the_connection, args=(process.pid,), daemon=True).start()
    code = abs(process.wait())
    with suppress(OSError):  # when nothing is left
        os.killpg(process.pid, signal.SIGKILL)
    return code


def _end_with_the_connection(group: int) -> None:
    os.read(sys.stdin.fileno(), 1)
    os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(_supervise(sys.argv[1:]))
