"""Network namespaces: how they are made, held and entered, by root or by a user in a user namespace."""

from __future__ import annotations

import os
import shutil
import sys

import psutil

from obsctl.errors import ObsctlError
from obsctl.local import processes

PROGRAMS = ("ip", "nsenter", "unshare", "sleep", "tee")


def is_rootless() -> bool:
    """Whether a network namespace takes a user namespace."""
    return os.geteuid() != 0


def check_allowed() -> None:
    """Raises ObsctlError where this user cannot have any."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing or not sys.platform.startswith("linux"):
        raise not_allowed()
    if is_rootless() and processes.run([*new(None), "true"], timeout=10, hint="unshare -rn true").returncode:
        raise not_allowed()


def not_allowed() -> ObsctlError:
    return ObsctlError(
        "a cluster of several machines needs network namespaces, which you may not make here",
        hint="run it on Linux with iproute2 and util-linux, as root or where users may make user namespaces, or leave "
        "out --nodes",
    )


def new(neighbour: int | None) -> list[str]:
    """What stands before a command that runs in a new one. neighbour: a process in the user namespace that it is to
    share; None for a new one."""
    unshare = [program("unshare"), "--net", "--"]
    if not is_rootless():
        return unshare
    return [*_enter(neighbour), "--", *unshare] if neighbour else [unshare[0], "--map-root-user", *unshare[1:]]


def enter(holder: int) -> list[str]:
    """What stands before a command that runs in that of this process; with all rights there, but for nothing else."""
    return [*_enter(holder), f"--net=/proc/{holder}/ns/net", "--"]


def as_user() -> list[str]:
    """What follows `enter` where the command is to be the user again, and not root of the user namespace."""
    if not is_rootless():
        return []
    return [program("unshare"), f"--map-user={os.geteuid()}", f"--map-group={os.getegid()}", "--"]


def hold() -> list[str]:
    """A command that holds a namespace and does nothing."""
    return [program("sleep"), "infinity"]


def is_held(holder: psutil.Process) -> bool:
    """Whether `new` has done its work and become `hold`. Raises ObsctlError when it has ended."""
    if not processes.is_alive(holder):
        raise not_allowed()
    return processes.argv_of(holder) == hold()


def program(name: str) -> str:
    return shutil.which(name) or name


def _enter(holder: int) -> list[str]:
    users = [f"--user=/proc/{holder}/ns/user", "--preserve-credentials"] if is_rootless() else []
    return [program("nsenter"), *users]
