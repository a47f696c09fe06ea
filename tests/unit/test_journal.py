import json
import os
import stat
import subprocess
import sys

import pytest

from obsctl.drills.tell.journal import FORMAT, Journal, find, new_id, read
from obsctl.errors import ObsctlError
from tests.fakes import FakeClock
from tests.foreign import give_away


@pytest.fixture
def journal(tmp_path):
    made = Journal.create(tmp_path / "drills", "one", clock=FakeClock())
    yield made
    made.close()


def lines(records):
    return [record.line() for record in records]


def test_what_was_appended_is_read_again(journal):
    journal.append("started", drill="one")
    journal.append("stage", stage="pending", at=1.5, evidence={"labels": {"a": "ü"}})
    records = read(journal.path)
    assert lines(records) == lines(journal.records)
    assert [(record.seq, record.kind) for record in records] == [(0, "started"), (1, "stage")]
    assert records[1].data["evidence"] == {"labels": {"a": "ü"}}


def test_every_record_is_on_disk_before_append_returns(journal, monkeypatch):
    order = []
    write, fsync = os.write, os.fsync
    monkeypatch.setattr(os, "write", lambda *args: (order.append("write"), write(*args))[1])
    monkeypatch.setattr(os, "fsync", lambda *args: (order.append("fsync"), fsync(*args))[1])
    journal.append("started")
    journal.append("gate")
    assert order == ["write", "fsync", "write", "fsync"]


def test_only_its_owner_can_read_it(tmp_path):
    journal = Journal.create(tmp_path / "state" / "obsctl" / "drills", "one")
    journal.close()
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    for folder in ("state", "state/obsctl", "state/obsctl/drills"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700


def test_a_journal_is_never_written_over(journal):
    with pytest.raises(ObsctlError, match="cannot be written: File exists"):
        Journal.create(journal.path.parent, "one")


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir])
def test_something_else_in_its_place_is_told_and_not_waited_for(tmp_path, put):
    put(tmp_path / "one.jsonl")
    with pytest.raises(ObsctlError, match=r"one\.jsonl cannot be read: it is"):
        read(tmp_path / "one.jsonl")
    with pytest.raises(ObsctlError, match="cannot be written: File exists"):
        Journal.create(tmp_path, "one")


def test_a_journal_is_not_gone_on_with_through_a_link(journal, tmp_path):
    journal.append("started")
    (tmp_path / "two.jsonl").symlink_to(journal.path)
    with pytest.raises(ObsctlError, match="cannot be written"):
        Journal.resume(tmp_path / "two.jsonl")


def test_a_journal_of_another_user_proves_nothing(journal, monkeypatch):
    journal.append("started")
    give_away(journal.path, monkeypatch)
    with pytest.raises(ObsctlError, match="belongs to"):
        read(journal.path)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ObsctlError, match="cannot be written: Not a directory") as failure:
        Journal.create(tmp_path / "file" / "drills", "one")
    assert "drills.journal_dir" in failure.value.hint


def test_a_torn_last_line_is_left_out(journal):
    journal.append("started")
    journal.append("gate")
    whole = journal.path.read_bytes()
    for length in range(len(whole) // 2 + 40, len(whole)):
        journal.path.write_bytes(whole[:length])
        assert [record.kind for record in read(journal.path)] == ["started"]


def test_a_torn_character_is_left_out(journal):
    journal.append("started")
    with journal.path.open("ab") as file:
        file.write('{"ü'.encode()[:-1])
    assert len(read(journal.path)) == 1


@pytest.mark.parametrize("change", ["edit", "remove", "swap", "garbage"])
def test_a_record_that_was_changed_shows(journal, change):
    for kind in ("started", "gate", "intent", "armed"):
        journal.append(kind, note="before", format=FORMAT)
    text = journal.path.read_text().splitlines()
    if change == "edit":
        text[1] = text[1].replace("before", "after")
    elif change == "remove":
        del text[1]
    elif change == "swap":
        text[1], text[2] = text[2], text[1]
    else:
        text[1] = "garbage"
    journal.path.write_text("\n".join(text) + "\n")
    with pytest.raises(ObsctlError, match=r"is broken at line [23]"):
        read(journal.path)


def test_each_record_names_the_hash_of_the_one_before(journal):
    first, second = journal.append("started"), journal.append("gate")
    assert first.previous == ""
    assert len(second.previous) == 64


def test_an_empty_journal_is_no_traceback(journal):
    with pytest.raises(ObsctlError, match="is empty"):
        read(journal.path)


def test_a_journal_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ObsctlError, match="cannot be read: No such file"):
        read(tmp_path / "none.jsonl")


FILL = """
import resource, signal, sys
from pathlib import Path
from obsctl.drills.tell.journal import Journal, read
from obsctl.errors import ObsctlError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
journal = Journal.create(Path(sys.argv[1]), "full")
try:
    while True:
        journal.append("stage", note="x" * 50)
except ObsctlError as error:
    print(error.message)
print(len(journal.records), len(read(journal.path)))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append("finished")
print(len(journal.records), len(read(journal.path)))
"""


def test_a_full_disk_is_an_error_and_what_it_did_not_take_is_written_when_there_is_room(tmp_path):
    done = subprocess.run([sys.executable, "-c", FILL, str(tmp_path)], capture_output=True, text=True, check=True)
    message, full, again = done.stdout.splitlines()
    assert "cannot be written" in message
    in_memory, on_disk = map(int, full.split())
    assert on_disk == in_memory - 1
    assert again == f"{in_memory + 1} {in_memory + 1}"


def test_a_journal_of_a_drill_that_died_is_resumed_after_its_last_whole_record(journal):
    journal.append("started")
    with journal.path.open("ab") as file:
        file.write(b'{"kind": "ga')
    resumed = Journal.resume(journal.path, clock=FakeClock())
    resumed.append("recovered", by="the warden")
    resumed.close()
    assert [record.kind for record in read(journal.path)] == ["started", "recovered"]
    assert [json.loads(line)["seq"] for line in journal.path.read_text().splitlines()] == [0, 1]


def test_ids_sort_by_time_and_are_unique():
    ids = [new_id("stop", "response-service") for _ in range(50)]
    assert "/" not in new_id("stop", "../../x y")
    assert len(set(ids)) == 50
    assert all(drill[:9].startswith("20") and "-stop-response-service-" in drill for drill in ids)


@pytest.fixture
def folder(tmp_path):
    for name in ("20260101T000000Z-stop-a-1111", "20260102T000000Z-stop-b-2222", "20260103T000000Z-stop-b-3333"):
        (tmp_path / f"{name}.jsonl").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("20260102T000000Z-stop-b-2222", "20260102T000000Z-stop-b-2222"),
        ("stop-a", "20260101T000000Z-stop-a-1111"),
        ("2222", "20260102T000000Z-stop-b-2222"),
        ("last", "20260103T000000Z-stop-b-3333"),
    ],
)
def test_a_journal_is_found_by_its_id_a_part_of_it_or_last(folder, name, found):
    assert find(folder, name).stem == found


def test_a_name_that_fits_several_is_refused_with_their_names(folder):
    with pytest.raises(ObsctlError, match="more than one") as failure:
        find(folder, "stop-b")
    assert "3333" in failure.value.hint


@pytest.mark.parametrize("name", ["nothing", "last"])
def test_a_journal_that_does_not_exist_is_said(tmp_path, name):
    with pytest.raises(ObsctlError, match="there is no journal") as failure:
        find(tmp_path, name)
    assert "no drill was run here yet" in failure.value.hint


def test_a_journal_of_another_version_is_not_called_changed(tmp_path):
    path = tmp_path / "old.jsonl"
    first = json.dumps({"at": 1, "data": {"drill": "old"}, "kind": "started", "monotonic": 1, "previous": "", "seq": 0})
    path.write_text(f"{first}\n{first}\n")
    for look in (read, Journal.resume):
        with pytest.raises(ObsctlError, match="another version of obsctl"):
            look(path)


@pytest.mark.parametrize("line", ["[" * 100_000, "[]", '{"seq": 0}', "null"])
def test_a_line_that_is_no_record_is_named(tmp_path, line):
    path = tmp_path / "broken.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(ObsctlError, match="broken at line 1"):
        read(path)
