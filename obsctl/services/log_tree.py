"""The tree of hard links that the collector of a node reads, in the folder of the allocation of log-links:

    <allocations>/<allocation>/links/<lane>/<namespace>/<job>/<group>/<allocation id>/<task>.<stream>.<number>

A hard link leads to the very file that was looked at, whatever is put in the place of its name later. Only root can
write to the tree. Links are first made beside it and looked at again: the collector sees none that did not pass.

The collector looks for new lines in a lane when it has read all files of the lane to their ends, so one that is written
without end keeps its lane waiting. Allocations are spread over lanes by their ids, and the files of a log that is begun
anew within seconds come into a lane of their own. No file ever changes its lane, or it would be read twice.
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import stat
import zlib
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter

from obsctl.names import LOG_LANES
from obsctl.services import log_files
from obsctl.services.log_files import REASONS, Logs, Look, Refused

NAME = "links"
*LANES, BUSY = LOG_LANES
SOON = 30.0
"""Seconds: a log of which Nomad begins a new file (of 10 MB, by default) sooner is busy."""
LOOKS = 5
"""Linux finds a name, and counts the links of its file a moment later: a name that goes between could pass once."""
_log = logging.getLogger("obsctl.log-links")


def tree_of(allocations: Path, alloc_id: str) -> Path:
    """Beside the folders of the tasks, in one that is root's alone; Nomad removes it with the allocation."""
    return allocations / alloc_id / NAME


class LogTree:
    """allocations: the client's alloc_dir. alloc_id: the allocation of log-links."""

    def __init__(self, allocations: Path, alloc_id: str, registry: CollectorRegistry) -> None:
        self.root = tree_of(allocations, alloc_id)
        self._allocations = allocations
        self._staged = self.root.with_name("links.new")
        self._owner = os.geteuid()
        self._refusals: dict[str, dict[str, str]] = {}
        self._told: set[tuple[str, str]] = set()
        self._newest: dict[tuple[str, str], tuple[int, float]] = {}
        self._count = Counter("log_links_refused", "What is not read in log folders.", ["reason"], registry=registry)
        for reason in REASONS:
            self._count.labels(reason)

    def look(self, allocations: Collection[Logs], trees: Collection[Path], now: float) -> None:
        """Make the tree what the log folders say now. trees: those of all stacks on this node. now: in seconds.

        Raises OSError when not one of the files could be linked: the reason is none of a single allocation then.
        """
        self._owner = self._allocations.stat().st_uid
        looks = [self._look(logs, trees, now) for logs in allocations]
        errors = [look.error for look in looks if look.error]
        if errors and not any(look.links for look in looks):
            raise errors[0]

    def keep_only(self, allocations: Collection[Logs]) -> None:
        """Forget all other allocations, and remove their links."""
        places = {self.root / lane / logs.place for logs in allocations for lane in _lanes(logs)}
        for place in set(self.root.glob("*/*/*/*/*")) - places:
            shutil.rmtree(place)
            with suppress(OSError):  # there are others
                for parent in itertools.islice(place.parents, 4):
                    parent.rmdir()
        known = {logs.alloc_id for logs in allocations}
        self._refusals = {alloc_id: refused for alloc_id, refused in self._refusals.items() if alloc_id in known}
        self._told = {each for each in self._told if each[0] in known}
        self._newest = {log: newest for log, newest in self._newest.items() if log[0] in known}

    def remove(self, tree: Path) -> None:
        """Of an agent that ended: it would keep on the disk what Nomad has removed."""
        if _is_private(tree, self._owner):
            shutil.rmtree(tree, ignore_errors=True)

    def _look(self, logs: Logs, trees: Collection[Path], now: float) -> Look:
        """Whatever is wrong with one allocation is no matter of the others."""
        look = Look()
        try:
            with log_files.folder(self._allocations, logs.alloc_id) as folder:
                names, look.refusals = log_files.candidates(folder, logs)
                busy = self._busy(logs, names, now)
                for name in names:
                    lanes = reversed(_lanes(logs)) if _log_of(name) in busy else _lanes(logs)
                    self._try(look, folder, name, [Path(lane) / logs.place / name for lane in lanes], trees)
        except FileNotFoundError:
            pass  # it has none yet, or no longer
        except NotADirectoryError:
            look.refusals[""] = "folder"
        except OSError as error:
            look.fail("", error)
        try:
            self._unlink(logs, keep=look.links)
        except OSError as error:
            look.fail("", error)
        self._account(logs, look)
        return look

    def _try(self, look: Look, folder: int, name: str, places: Sequence[Path], trees: Collection[Path]) -> None:
        try:
            look.links.add(self._link(folder, name, places, trees))
        except Refused as error:
            look.refusals[name] = error.reason
        except FileNotFoundError:
            pass  # Nomad has removed it meanwhile
        except OSError as error:
            look.fail(name, error)

    def _link(self, folder: int, name: str, places: Sequence[Path], trees: Collection[Path]) -> Path:
        """Where its link is: in one of these places of the tree, where a tree before had it, or now in the first."""
        with log_files.hold(folder, name, owner=self._owner) as (descriptor, status):
            for tree, place in itertools.product((self.root, *trees), places):
                if self._has(tree, place, status):
                    link = self.root / place
                    break
            else:
                link = self.root / places[0]
            if _is(link, status):
                return link
            self._stage(descriptor)
        for _ in range(LOOKS):
            log_files.settle(folder)
            now = os.stat(name, dir_fd=folder, follow_symlinks=False)
            ours = 1 + sum(self._has(tree, place, now) for tree in trees for place in places)
            if not os.path.samestat(now, status) or now.st_nlink > 1 + ours:
                self._staged.unlink()
                raise Refused("hard_link")
        self._make_folder(link.parent)
        self._staged.replace(link)
        return link

    def _has(self, tree: Path, place: Path, status: os.stat_result) -> bool:
        """Whether this file is there. A tree in which anybody else could have made links has none."""
        return _is(tree / place, status) and all(_is_private(tree / each, self._owner) for each in place.parents)

    def _stage(self, descriptor: int) -> None:
        """A link to what is held, beside the tree."""
        self._staged.unlink(missing_ok=True)
        beside = os.open(self._staged.parent, os.O_PATH | os.O_DIRECTORY)
        try:  # with a descriptor for the new name, Python has the old one followed
            os.link(f"/proc/self/fd/{descriptor}", self._staged.name, dst_dir_fd=beside)
        finally:
            os.close(beside)

    def _make_folder(self, path: Path) -> None:
        """It belongs to the owner of all allocations, though log-links may be another with the right to do this."""
        if path.is_dir():
            return
        if path != self.root:
            self._make_folder(path.parent)
        path.mkdir(mode=0o755)
        if self._owner != os.geteuid():
            os.chown(path, self._owner, -1)

    def _unlink(self, logs: Logs, *, keep: set[Path]) -> None:
        for lane in _lanes(logs):
            with suppress(FileNotFoundError):
                for link in set((self.root / lane / logs.place).iterdir()) - keep:
                    link.unlink()

    def _busy(self, logs: Logs, names: Collection[str], now: float) -> set[str]:
        """The logs of which Nomad began a new file soon after the last one."""
        busy = set()
        for log in {_log_of(name) for name in names}:
            newest = max(int(name.rpartition(".")[2]) for name in names if _log_of(name) == log)
            before, since = self._newest.setdefault((logs.alloc_id, log), (newest, now))
            if newest > before:
                self._newest[logs.alloc_id, log] = newest, now
                busy |= {log} if now - since < SOON else set()
        return busy

    def _account(self, logs: Logs, look: Look) -> None:
        """Count what was not refused before; tell of each reason once."""
        earlier = self._refusals.get(logs.alloc_id, {})
        self._refusals[logs.alloc_id] = look.refusals
        for name, reason in look.refusals.items():
            if earlier.get(name) != reason:
                self._count.labels(reason).inc()
            if (logs.alloc_id, reason) not in self._told:
                self._told.add((logs.alloc_id, reason))
                what = f"{name!r} in its log folder" if name else "its log folder"
                why = f"{REASONS[reason]} ({look.error})" if reason == "error" else REASONS[reason]
                _log.warning(
                    "allocation %s: %s is not read: %s; more of that kind are only counted", logs.alloc_id, what, why
                )


def _lanes(logs: Logs) -> tuple[str, str]:
    """Where the allocation's files may be: the first, unless they are busy."""
    return LANES[zlib.crc32(logs.alloc_id.encode()) % len(LANES)], BUSY


def _log_of(name: str) -> str:
    """TASK.STREAM of a file's name."""
    return name.rpartition(".")[0]


def _is(path: Path, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.lstat(), status)
    except OSError:
        return False


def _is_private(path: Path, owner: int) -> bool:
    """A folder to which nobody but its owner can write, and no link to one."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == owner and not status.st_mode & 0o022
