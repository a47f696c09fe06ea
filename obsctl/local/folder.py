"""The local cluster's state folder: what is where, whose it is, and the lock on it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TextIO

import psutil

from obsctl import children, files
from obsctl.errors import ObsctlError
from obsctl.local.links import BIN, CLUSTER_FILE, SCHEMA, make_link
from obsctl.local.machines import Layout, is_layout
from obsctl.local.ports import Ports
from obsctl.local.processes import StartedProcess
from obsctl.model import Emit, Event, Json
from obsctl.state import try_lock
from obsctl.wait import wait_until

# Nomad talks to its executors over sockets named FOLDER/tmp/plugin1234567890, and the path of a socket has room for
# 103 bytes on macOS and 107 on Linux. (The Task API's socket lies deeper; without it Nomad runs the task all the same.)
LONGEST_PATH = 80
LOCK_TIMEOUT = 120.0
LARGEST_PID = 2**31


@dataclass(frozen=True, slots=True)
class Folder:
    """A state folder.

    bin: links to the programs, first on the client's PATH. volumes: the data of raw_exec jobs; host-volumes: that of
    others. tmp: TMPDIR of the agents and tasks. alloc and data: Nomad's and Consul's own. config, logs, run: a file
    for each agent. Where the cluster has several machines, each has volumes, host-volumes, alloc and data of its own.
    """

    path: Path

    @property
    def bin(self) -> Path:
        return self.path / BIN

    @property
    def tmp(self) -> Path:
        return self.path / "tmp"

    def config(self, agent: str) -> Path:
        return self.path / "config" / f"{agent}.json"

    def log(self, agent: str) -> Path:
        return self.path / "logs" / f"{agent}.log"

    def claim(self, emit: Emit) -> None:
        """Make it the state folder of a cluster. Raises ObsctlError when it holds something else, or when its path is
        too long for sockets."""
        self._check_length()
        if self._holds_something() and not self.is_ours():
            raise ObsctlError(
                f"{self.path} holds something that obsctl did not put there",
                hint="choose a new or empty folder with --state-dir or OBSCTL_DEV_STATE_DIR",
            )
        files.private_folder(self.path)
        weakness = files.weakness(self.path)
        if weakness:
            raise ObsctlError(
                f"{self.path} cannot hold a cluster, whose programs run from there: {weakness}",
                hint="choose a folder that only you can write to, with --state-dir or OBSCTL_DEV_STATE_DIR",
            )
        with self.locked(emit):
            if not self.is_ours():
                _write_json(self._cluster_file, {"schema": SCHEMA, "ports": None})
            for name in (BIN, "tmp", "config", "logs", "run"):
                (self.path / name).mkdir(exist_ok=True)
            self.prepare("")

    def is_ours(self) -> bool:
        document = _read_json(self._cluster_file) or {}
        return document.get("schema") == SCHEMA and (document.get("ports") is None or _is_ports(document["ports"]))

    def ports(self) -> Ports | None:
        """The ports with which the cluster was last started, if it ever was."""
        ports = (_read_json(self._cluster_file) or {}).get("ports")
        return Ports(**ports) if isinstance(ports, dict) and _is_ports(ports) else None

    def keep_ports(self, ports: Ports) -> None:
        _write_json(self._cluster_file, {"schema": SCHEMA, "ports": asdict(ports)})

    def layout(self) -> Layout | None:
        """The machines of the cluster, where it has several."""
        match _read_json(self.path / "machines.json"):
            case {"clients": int(clients), "network": str(network)} if is_layout(clients, network):
                return Layout(clients, network)
        return None

    def keep_layout(self, layout: Layout) -> None:
        _write_json(self.path / "machines.json", asdict(layout))

    def of_machine(self, machine: str) -> Path:
        """Where a machine keeps what its agents and jobs write; "" is this machine itself."""
        return self.path / machine

    def prepare(self, machine: str) -> None:
        """Make the folders of a machine."""
        own = [self.of_machine(machine) / name for name in ("volumes", "host-volumes")]
        for folder in (*own, *(self.path / name / machine for name in ("config", "logs", "run"))):
            folder.mkdir(parents=True, exist_ok=True)

    def host_volumes(self, machine: str = "") -> list[Path]:
        """The folders that the client offers to jobs."""
        return sorted((self.of_machine(machine) / "host-volumes").glob("*"))

    def keep_host_volume(self, name: str, owner: int, machine: str = "") -> None:
        """Make it, and give it with all its files to the user who will write to it."""
        volume = self.of_machine(machine) / "host-volumes" / name
        volume.mkdir(exist_ok=True)
        if volume.stat().st_uid == owner:
            return
        try:
            for path in (volume, *volume.rglob("*")):
                os.chown(path, owner, owner, follow_symlinks=False)
        except PermissionError:  # only root can give a folder away
            volume.chmod(0o777)

    def process(self, agent: str) -> StartedProcess | None:
        """The process of the agent's last start."""
        match _read_json(self._process_file(agent)):
            case {"pid": int(pid), "started": int() | float() as started} if 0 < pid < LARGEST_PID:
                return StartedProcess(pid, started)
        return None

    def keep_process(self, agent: str, process: StartedProcess) -> None:
        _write_json(self._process_file(agent), asdict(process))

    def forget_process(self, agent: str) -> None:
        self._process_file(agent).unlink(missing_ok=True)

    def link(self, program: str, target: Path) -> None:
        """Put a program into `bin`, in place of an older one."""
        make_link(self.bin / program, target)

    @contextlib.contextmanager
    def locked(self, emit: Emit) -> Iterator[None]:
        """Only one command at a time changes the cluster; others wait, at most LOCK_TIMEOUT seconds."""
        with self._lock_file() as lock:
            if not try_lock(lock):
                emit(Event("cluster", "note", "another obsctl is changing it; waiting"))
                self._wait_for(lock)
            if not (self.path / "lock").exists():
                raise self._removed()
            yield

    @contextlib.contextmanager
    def filled(self) -> Iterator[None]:
        """While the block runs, this obsctl may still put programs into `bin`."""
        with files.open_lock(self.path / "filling") as lock:
            fcntl.flock(lock.fileno(), fcntl.LOCK_SH)
            yield

    def is_being_filled(self) -> bool:
        """Whether an obsctl is in the block of `filled`."""
        try:
            with files.open_lock(self.path / "filling") as lock:
                return not try_lock(lock)
        except OSError:  # there is no folder, or none of a cluster
            return False

    def _lock_file(self) -> TextIO:
        try:
            return files.open_lock(self.path / "lock")
        except FileNotFoundError:
            raise self._removed() from None

    def _wait_for(self, lock: TextIO) -> None:
        failure, hint = f"another obsctl did not release {lock.name}", f"see which one holds it: fuser {lock.name}"
        wait_until(lambda: try_lock(lock), timeout=LOCK_TIMEOUT, failure=failure, hint=hint, interval=0.2)

    def _removed(self) -> ObsctlError:
        return ObsctlError(f"{self.path} was removed by another obsctl", hint="run the command again")

    def clear_tmp(self) -> None:
        """Remove what ended processes left in TMPDIR, such as the sockets of executors."""
        shutil.rmtree(self.tmp, ignore_errors=True)

    def check_removable(self) -> None:
        """Raises ObsctlError when it is not ours."""
        if self.path.exists() and not self.is_ours():
            raise ObsctlError(
                f"{self.path} is not the state folder of a cluster, so it is not removed",
                hint="look at what it holds, and remove it by hand if you are sure",
            )

    def remove(self) -> None:
        """Remove it with all data in it, if it is there."""
        self.check_removable()
        self._unmount()
        try:
            shutil.rmtree(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ObsctlError(
                f"{self.path} cannot be removed: {error.strerror} ({error.filename})",
                hint="run the command as the user who started the cluster",
            ) from error

    def _check_length(self) -> None:
        length = len(os.fsencode(self.path))
        if length > LONGEST_PATH:
            raise ObsctlError(
                f"the path of the state folder is too long for Nomad's sockets below it: {self.path} has {length} "
                f"bytes, and {LONGEST_PATH} are possible",
                hint="choose a shorter one with --state-dir or OBSCTL_DEV_STATE_DIR",
            )

    def _holds_something(self) -> bool:
        """Whether it holds more than the files of another `up` that claims it at this moment."""
        try:
            return any(not entry.name.startswith(("lock", f".{CLUSTER_FILE}.")) for entry in self.path.iterdir())
        except FileNotFoundError:
            return False
        except NotADirectoryError:
            return self.path.exists()

    def _unmount(self) -> None:
        """Nomad that runs as root keeps the secrets of each task in a tmpfs. The last mounted goes first."""
        for partition in reversed(psutil.disk_partitions(all=True)):
            if Path(partition.mountpoint).is_relative_to(self.path):
                subprocess.run(["umount", partition.mountpoint], env=children.environment(), check=False)

    @property
    def _cluster_file(self) -> Path:
        return self.path / CLUSTER_FILE

    def _process_file(self, agent: str) -> Path:
        return self.path / "run" / f"{agent}.json"


def _is_ports(document: object) -> bool:
    known = {field.name for field in fields(Ports)}
    if not isinstance(document, dict) or set(document) != known:
        return False
    return all(type(port) is int and 0 < port < 65_536 for port in document.values())


def _read_json(path: Path) -> Json | None:
    """None when there is no such file, or when it holds no JSON object. Raises ObsctlError when it is somebody else's:
    by its processes and ports this user's programs would be ended or asked."""
    files.refuse_foreign(path)
    try:
        document = json.loads(files.read(path))
    except PermissionError:
        raise ObsctlError(
            f"{path} may not be read", hint="run the command as the user who started the cluster"
        ) from None
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _write_json(path: Path, document: Json) -> None:
    files.write(path, json.dumps(document, indent=2) + "\n")
