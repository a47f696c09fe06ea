"""The tree of hard links that the collector of a node reads, in the folder of the allocation of log-links:

    <allocations>/<allocation>/links/<namespace>/<job>/<group>/<allocation id>/<task>.<stream>.<number>

A hard link leads to the very file that was looked at, whatever is put in the place of its name later. Only root can
write to the tree. Links are first made beside it and looked at again: the collector sees none that did not pass.
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter

from obsctl.services import log_files
from obsctl.services.log_files import REASONS, Logs, Look, Refused

_log = logging.getLogger("obsctl.log-links")


def tree_of(allocations: Path, alloc_id: str) -> Path:
    """Beside the folders of the tasks, in one that is root's alone; Nomad removes it with the allocation."""
    return allocations / alloc_id / "links"


class LogTree:
    """allocations: the client's alloc_dir. alloc_id: the allocation of log-links."""

    def __init__(self, allocations: Path, alloc_id: str, registry: CollectorRegistry) -> None:
        self.root = tree_of(allocations, alloc_id)
        self._allocations = allocations
        self._staged = self.root.with_name("links.new")
        self._owner = os.geteuid()
        self._refusals: dict[str, dict[str, str]] = {}
        self._told: set[tuple[str, str]] = set()
        self._count = Counter("log_links_refused", "What is not read in log folders.", ["reason"], registry=registry)
        for reason in REASONS:
            self._count.labels(reason)

    def look(self, allocations: Collection[Logs], trees: Collection[Path]) -> None:
        """Make the tree what the log folders say now. trees: those of all stacks on this node.

        Raises OSError when not one of the files could be linked: the reason is none of a single allocation then.
        """
        self._owner = self._allocations.stat().st_uid
        looks = [self._look(logs, trees) for logs in allocations]
        errors = [look.error for look in looks if look.error]
        if errors and not any(look.links for look in looks):
            raise errors[0]

    def keep_only(self, allocations: Collection[Logs]) -> None:
        """Forget all other allocations, and remove their links."""
        places = {self.root / logs.place for logs in allocations}
        for place in set(self.root.glob("*/*/*/*")) - places:
            shutil.rmtree(place)
            with suppress(OSError):  # there are others
                for parent in itertools.islice(place.parents, 3):
                    parent.rmdir()
        known = {logs.alloc_id for logs in allocations}
        self._refusals = {alloc_id: refused for alloc_id, refused in self._refusals.items() if alloc_id in known}
        self._told = {(alloc_id, reason) for alloc_id, reason in self._told if alloc_id in known}

    def _look(self, logs: Logs, trees: Collection[Path]) -> Look:
        """Whatever is wrong with one allocation is no matter of the others."""
        look = Look()
        try:
            with log_files.folder(self._allocations, logs.alloc_id) as folder:
                names, look.refusals = log_files.candidates(folder, logs)
                for name in names:
                    self._try(look, folder, name, logs.place / name, trees)
        except FileNotFoundError:
            pass  # it has none yet, or no longer
        except NotADirectoryError:
            look.refusals[""] = "folder"
        except OSError as error:
            look.fail("", error)
        try:
            self._unlink(logs.place, keep=look.links)
        except OSError as error:
            look.fail("", error)
        self._account(logs, look)
        return look

    def _try(self, look: Look, folder: int, name: str, place: Path, trees: Collection[Path]) -> None:
        try:
            self._link(folder, name, place, trees)
            look.links.add(name)
        except Refused as error:
            look.refusals[name] = error.reason
        except FileNotFoundError:
            pass  # Nomad has removed it meanwhile
        except OSError as error:
            look.fail(name, error)

    def _link(self, folder: int, name: str, place: Path, trees: Collection[Path]) -> None:
        link = self.root / place
        with log_files.hold(folder, name, owner=self._owner) as (descriptor, status):
            if _is(link, status):
                return
            self._make_folder(link.parent)
            _remove(self._staged)
            beside = os.open(self._staged.parent, os.O_PATH | os.O_DIRECTORY)
            try:  # with a descriptor for the new name, Python has the old one followed: to what is held
                os.link(f"/proc/self/fd/{descriptor}", self._staged.name, dst_dir_fd=beside)
            finally:
                os.close(beside)
        now = os.stat(name, dir_fd=folder, follow_symlinks=False)
        others = now.st_nlink - 2 - sum(_is(tree / place, now) for tree in trees)
        if not os.path.samestat(now, status) or others > 0:
            _remove(self._staged)
            raise Refused("hard_link")
        self._staged.replace(link)

    def _make_folder(self, path: Path) -> None:
        """It belongs to the owner of all allocations, though log-links may be another with the right to do this."""
        if path.is_dir():
            return
        if path != self.root:
            self._make_folder(path.parent)
        path.mkdir(mode=0o755)
        if self._owner != os.geteuid():
            os.chown(path, self._owner, -1)

    def _unlink(self, place: Path, *, keep: set[str]) -> None:
        with suppress(FileNotFoundError):
            for name in {path.name for path in (self.root / place).iterdir()} - keep:
                _remove(self.root / place / name)

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


def _is(path: Path, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.lstat(), status)
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
