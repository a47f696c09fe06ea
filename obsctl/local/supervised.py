"""Commands that end with whoever asked for them, wherever that one is interrupted and however it ends.

A signal may reach any thread, and Python raises KeyboardInterrupt between any two steps of the main one: also when a
process is started and nobody knows its id yet. So the command is not ended by its id. This very file, run as a
supervisor, starts it in a process group of its own and holds one end of a line to the asker. When the line breaks, as
the asker has closed it or is gone, the supervisor ends the whole group.
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
    """The command's supervisor, which ends as the command does. After the block neither runs any more, nor anything
    that the command has started in its process group. May be used in any thread."""
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
            ours.recv(1)  # returns when the supervisor has ended: nobody else holds the other end
            if process:
                process.wait()


def _supervise(command: Sequence[str]) -> int:
    """Run the command, and end what it leaves running; its exit code, or the number of the signal that ended it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    threading.Thread(target=_end_with_the_line, args=(process.pid,), daemon=True).start()
    code = abs(process.wait())
    with suppress(OSError):  # nothing is left
        os.killpg(process.pid, signal.SIGKILL)
    return code


def _end_with_the_line(group: int) -> None:
    os.read(sys.stdin.fileno(), 1)
    os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(_supervise(sys.argv[1:]))
