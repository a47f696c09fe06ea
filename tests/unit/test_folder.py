"""The state folder: claimed, kept, locked, removed, and never somebody else's."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from obsctl.errors import ObsctlError
from obsctl.local import folder as folder_module
from obsctl.local.folder import Folder
from obsctl.local.links import leads_through_a_cluster
from obsctl.local.ports import Ports
from obsctl.local.processes import StartedProcess
from obsctl.model import Event, silent
from obsctl.state import local_cluster_folder
from tests.foreign import give_away


@pytest.fixture(autouse=True)
def _long_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest's folders may be longer than a socket's path allows; no socket is made here."""
    monkeypatch.setattr(folder_module, "LONGEST_PATH", 300)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    ours = Folder(tmp_path / "state")
    ours.claim(silent)
    return ours


def test_default_follows_xdg() -> None:
    assert local_cluster_folder({"XDG_STATE_HOME": "/x"}) == Path("/x/obsctl/dev")
    assert local_cluster_folder({}) == Path.home() / ".local/state/obsctl/dev"


def test_claimed_folder_is_private_and_ours(folder: Folder) -> None:
    assert folder.is_ours()
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert folder.ports() is None
    folder.claim(silent)  # again, as every `up` does


def test_what_is_kept_is_there_for_the_next(folder: Folder) -> None:
    folder.keep_ports(Ports(nomad_http=1234))
    folder.keep_process("consul", StartedProcess(1, 2.5))
    folder.claim(silent)
    again = Folder(folder.path)
    assert again.ports() == Ports(nomad_http=1234)
    assert again.process("consul") == StartedProcess(1, 2.5)
    again.forget_process("consul")
    assert folder.process("consul") is None


def test_a_host_volume_belongs_to_who_writes_to_it(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Path, int]] = []
    monkeypatch.setattr("os.chown", lambda path, uid, gid, *, follow_symlinks: given.append((path, uid)))
    folder.keep_host_volume("obs-jaeger", 10001)
    [volume] = folder.host_volumes()
    (volume / "wal").touch()
    folder.keep_host_volume("obs-jaeger", 10001)
    assert given == [(volume, 10001), (volume, 10001), (volume / "wal", 10001)]
    folder.keep_host_volume("obs-jaeger", volume.stat().st_uid)
    assert len(given) == 3, "it was this user's already"


def test_a_host_volume_of_a_user_who_is_not_root_is_open(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.chown", refuse)
    folder.keep_host_volume("obs-jaeger", 10001)
    assert folder.host_volumes()[0].stat().st_mode & 0o777 == 0o777


BROKEN = [
    "", "[" * 100_000, "[]", "null", "1", '"x"', "{", "\udcff", '{"a": ' * 50_000, "{}" + " " * 2_000_000,
    '{"pid": "1", "started": 1}', '{"pid": -1, "started": 1}', '{"pid": 1e99, "started": 1}', '{"pid": 1}',
    f'{{"pid": {10**40}, "started": 1}}', '{"pid": [], "started": {}}', f'{{"pid": {"9" * 5000}, "started": 1}}',
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_record_is_none(folder: Folder, text: str) -> None:
    folder.keep_process("consul", StartedProcess(1, 2.5))
    (folder.path / "run" / "consul.json").write_text(text, errors="surrogateescape")
    assert folder.process("consul") is None


MARK = '"schema": "obsctl/dev-cluster/v1"'
BROKEN_MARKS = [
    *BROKEN,
    f'{{{MARK}, "ports": 1}}', f'{{{MARK}, "ports": [1]}}', f'{{{MARK}, "ports": {{"consul_http": 1}}}}',
    f'{{{MARK}, "ports": {{"nonsense": 1}}}}', '{"schema": ["obsctl/dev-cluster/v1"]}',
    json.dumps({"schema": "obsctl/dev-cluster/v1", "ports": {**asdict(Ports()), "nomad_http": "4646"}}),
    json.dumps({"schema": "obsctl/dev-cluster/v1", "ports": {**asdict(Ports()), "nomad_http": 10**9}}),
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN_MARKS, ids=range(len(BROKEN_MARKS)))
def test_a_broken_mark_is_told_in_a_sentence(folder: Folder, text: str) -> None:
    (folder.path / "cluster.json").write_text(text, errors="surrogateescape")
    assert (folder.is_ours(), folder.ports()) == (False, None)
    with pytest.raises(ObsctlError, match="holds something that obsctl did not put there"):
        folder.claim(silent)


def put_fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def put_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def put_link(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("nowhere")


@pytest.mark.parametrize("put", [put_fifo, put_folder, put_link])
class TestSomethingElseInTheirPlace:
    """Nothing waits, is read without end, or is written through a link."""

    def test_a_mark(self, folder: Folder, put: Callable[[Path], None]) -> None:
        put(folder.path / "cluster.json")
        assert not folder.is_ours()

    def test_a_record(self, folder: Folder, put: Callable[[Path], None]) -> None:
        put(folder.path / "run" / "consul.json")
        assert folder.process("consul") is None

    @pytest.mark.parametrize("name", ["lock", "filling"])
    def test_a_lock(self, folder: Folder, put: Callable[[Path], None], name: str) -> None:
        put(folder.path / name)
        with pytest.raises(OSError), folder.locked(silent), folder.filled():  # noqa: PT011  in words by the cluster
            pytest.fail("locked")

    def test_what_is_written_takes_its_place(self, folder: Folder, put: Callable[[Path], None]) -> None:
        put(folder.path / "run" / "consul.json")
        if put is not put_folder:
            folder.keep_process("consul", StartedProcess(1, 2.5))
            assert folder.process("consul") == StartedProcess(1, 2.5)


def test_a_record_of_another_user_ends_nobody(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.keep_process("consul", StartedProcess(1, 2.5))
    give_away(folder.path / "run" / "consul.json", monkeypatch)
    with pytest.raises(ObsctlError, match="belongs to"):
        folder.process("consul")


def test_a_folder_that_others_could_replace_holds_no_cluster(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ObsctlError, match=r"cannot hold a cluster.*open can be written by everybody"):
        Folder(tmp_path / "open" / "dev").claim(silent)


def test_all_files_are_their_owners_alone(folder: Folder) -> None:
    folder.keep_ports(Ports())
    folder.keep_process("consul", StartedProcess(1, 2.5))
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.path.rglob("*") if path.is_file()}
    assert modes == {"cluster.json": 0o600, "consul.json": 0o600, "lock": 0o600}


def test_a_folder_with_a_broken_mark_is_no_clusters(folder: Folder) -> None:
    assert leads_through_a_cluster(folder.bin / "nomad")
    (folder.path / "cluster.json").write_text("[" * 100_000)
    assert not leads_through_a_cluster(folder.bin / "nomad")


@pytest.mark.parametrize("content", ["notes", '{"schema": "something/else"}'])
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "cluster.json").write_text(content)
    with pytest.raises(ObsctlError, match="holds something that obsctl did not put there"):
        Folder(tmp_path).claim(silent)
    with pytest.raises(ObsctlError, match="is not removed"):
        Folder(tmp_path).remove()
    assert (tmp_path / "cluster.json").read_text() == content


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(ObsctlError, match="holds something"):
        Folder(tmp_path / "state").claim(silent)


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    Folder(tmp_path).claim(silent)
    assert Folder(tmp_path).is_ours()


def test_one_that_is_removed_meanwhile_is_told_of(folder: Folder) -> None:
    """By `dev down --purge`, while an `up` still gets programs for it."""
    folder.remove()
    with pytest.raises(ObsctlError, match="was removed by another obsctl"), folder.locked(silent):
        pass


def test_two_claims_at_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "state")
    claims = [threading.Thread(target=folder.claim, args=(silent,)) for _ in range(8)]
    for claim in claims:
        claim.start()
    for claim in claims:
        claim.join()
    assert folder.is_ours()


def test_too_long_a_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "LONGEST_PATH", 20)
    with pytest.raises(ObsctlError, match=r"has 22 bytes, and 20 are possible"):
        Folder(Path("/x" * 10 + "é")).claim(silent)


def test_remove(folder: Folder) -> None:
    folder.remove()
    assert not folder.path.exists()
    folder.remove()


def test_no_link_leads_to_itself(folder: Folder, tmp_path: Path) -> None:
    program, beside = tmp_path / "nomad", tmp_path / "beside"
    program.touch()
    beside.symlink_to(folder.bin / "nomad")
    folder.link("nomad", program)
    for itself in (folder.bin / "nomad", beside, tmp_path / "state" / ".." / "state" / "bin" / "nomad"):
        folder.link("nomad", itself)
        assert (folder.bin / "nomad").readlink() == program


def test_a_link_that_leads_to_itself_is_replaced(folder: Folder, tmp_path: Path) -> None:
    (folder.bin / "nomad").symlink_to(folder.bin / "nomad")
    (tmp_path / "nomad").touch()
    folder.link("nomad", tmp_path / "nomad")
    assert (folder.bin / "nomad").exists()


def test_link_replaces_an_older_one(folder: Folder, tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / version).write_text(version)
        folder.link("nomad", tmp_path / version)
    assert (folder.bin / "nomad").read_text() == "2"
    assert [entry.name for entry in folder.bin.iterdir()] == ["nomad"]


def test_what_is_mounted_on_top_is_unmounted_first(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nomad 2.0 mounts a folder, and secrets within it: the one beneath is busy as long as the other is there."""
    mounted = [f"{folder.path}/alloc/1", f"{folder.path}/alloc/1/secrets", "/elsewhere"]
    unmounted: list[str] = []
    partitions = [SimpleNamespace(mountpoint=point) for point in mounted]
    monkeypatch.setattr(folder_module.psutil, "disk_partitions", lambda all: partitions)
    monkeypatch.setattr(folder_module.subprocess, "run", lambda argv, env, check: unmounted.append(argv[1]))
    folder.remove()
    assert unmounted == [mounted[1], mounted[0]]


def test_clear_tmp(folder: Folder) -> None:
    (folder.tmp / "plugin1").write_text("")
    folder.clear_tmp()
    folder.clear_tmp()
    assert not folder.tmp.exists()


def test_lock_waits_for_the_other(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "LOCK_TIMEOUT", 0.1)
    events: list[Event] = []
    with folder.locked(events.append):
        assert not events
        with pytest.raises(ObsctlError, match="another obsctl did not release"), folder.locked(events.append):
            pytest.fail("two have the lock")
    assert [event.text for event in events] == ["another obsctl is changing it; waiting"]
    with folder.locked(events.append):
        assert len(events) == 1


def test_lock_of_a_removed_folder(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def remove_meanwhile(descriptor: int, operation: int) -> None:
        folder.remove()

    monkeypatch.setattr(fcntl, "flock", remove_meanwhile)
    with pytest.raises(ObsctlError, match="was removed by another obsctl"), folder.locked(lambda event: None):
        pytest.fail("locked what is not there")
