"""The tree of links that names the log files of a node's allocations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from obsctl.errors import Unreachable
from obsctl.services.log_links import WAIT, LogLinks, path_of
from tests.fakes import FakeClock, FakeNomad
from tests.fakes.nomad import NODE_ID


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def nomad(clock: FakeClock) -> FakeNomad:
    return FakeNomad(clock=clock)


@pytest.fixture
def program(nomad: FakeNomad, tmp_path: Path, clock: FakeClock) -> LogLinks:
    places = {"allocations": Path("/nomad/alloc"), "links": tmp_path}
    return LogLinks(nomad, NODE_ID, **places, registry=CollectorRegistry(), clock=clock)


def job(name: str, **more: Any) -> dict[str, Any]:
    group = {"Name": "web", "Count": 1, "Tasks": [{"Name": "server"}]}
    return {"ID": name, "Name": name, "Type": "service", "TaskGroups": [group], **more}


def tree(folder: Path) -> dict[str, str]:
    return {str(link.relative_to(folder)): str(link.readlink()) for link in folder.glob("*/*/*/*/*")}


def only_alloc(nomad: FakeNomad, name: str) -> str:
    (alloc,) = nomad.job_allocations(name)
    return str(alloc["ID"])


def test_an_allocation_gets_a_link_that_names_it(nomad: FakeNomad, program: LogLinks, tmp_path: Path) -> None:
    nomad.register_job(job("shop"))
    program.take()
    alloc = only_alloc(nomad, "shop")
    assert tree(tmp_path) == {f"all/default/shop/web/{alloc}": f"/nomad/alloc/{alloc}/alloc/logs"}


def test_one_that_ended_keeps_it_until_nomad_forgets_it(nomad: FakeNomad, program: LogLinks, tmp_path: Path) -> None:
    nomad.register_job(job("shop"))
    nomad.stop_job("shop")
    program.take()
    assert len(tree(tmp_path)) == 1
    nomad.collect_garbage("shop")
    program.take()
    assert tree(tmp_path) == {}


def test_a_second_turn_changes_nothing(nomad: FakeNomad, program: LogLinks, tmp_path: Path) -> None:
    nomad.register_job(job("shop"))
    program.take()
    before = {link: link.lstat().st_ino for link in tmp_path.rglob("*")}
    program.take()
    assert {link: link.lstat().st_ino for link in tmp_path.rglob("*")} == before


def test_a_program_that_takes_over_finds_the_tree_as_it_is(nomad: FakeNomad, program: LogLinks, tmp_path: Path) -> None:
    """After a restart there may be links that are no longer true."""
    stale = tmp_path / "all" / "default" / "gone" / "web" / "some-id"
    stale.parent.mkdir(parents=True)
    stale.symlink_to("/nowhere")
    nomad.register_job(job("shop"))
    program.take()
    assert list(tree(tmp_path)) == [f"all/default/shop/web/{only_alloc(nomad, 'shop')}"]


@pytest.mark.parametrize(
    ("meta", "folder"), [(None, "all"), ({"obsctl_logs": "all"}, "all"), ({"obsctl_logs": "stderr"}, "stderr")]
)
def test_a_job_says_which_streams_are_collected(
    meta: dict[str, str] | None, folder: str, nomad: FakeNomad, program: LogLinks, tmp_path: Path
) -> None:
    nomad.register_job(job("shop", Meta=meta))
    program.take()
    assert [path.split("/")[0] for path in tree(tmp_path)] == [folder]


def test_a_job_can_keep_its_logs_to_itself(nomad: FakeNomad, program: LogLinks, tmp_path: Path) -> None:
    nomad.register_job(job("shop", Meta={"obsctl_logs": "none"}))
    program.take()
    assert tree(tmp_path) == {}


def test_a_word_that_nobody_knows_is_told_and_loses_no_line(caplog: pytest.LogCaptureFixture) -> None:
    alloc = {"ID": "1", "Namespace": "default", "JobID": "shop", "TaskGroup": "web"}
    path = path_of({**alloc, "Job": job("shop", Meta={"obsctl_logs": "stdrr"})})
    assert path == Path("all/default/shop/web/1")
    assert "job shop: meta obsctl_logs is 'stdrr'" in caplog.text


@pytest.mark.parametrize(
    ("name", "parent", "folder"),
    [
        ("shop/periodic-1700000000", "shop", "shop"),
        ("a/b", None, "a%2Fb"),
        ("..", None, "%2E%2E"),
        ("../../etc", None, "..%2F..%2Fetc"),
        ("a%2Fb", None, "a%252Fb"),
    ],
)
def test_no_name_leaves_its_place(name: str, parent: str | None, folder: str) -> None:
    alloc = {"ID": "1", "Namespace": "default", "JobID": name, "TaskGroup": "web", "Job": job(name, ParentID=parent)}
    assert path_of(alloc) == Path("all", "default", folder, "web", "1")


def test_what_failed_is_done_again_without_waiting_for_a_change(
    nomad: FakeNomad, program: LogLinks, tmp_path: Path, clock: FakeClock
) -> None:
    nomad.register_job(job("shop"))
    (tmp_path / "all").write_text("in the way")
    with pytest.raises(OSError, match="all"):
        program.take()
    (tmp_path / "all").unlink()
    started = clock.monotonic()
    program.take()
    assert len(tree(tmp_path)) == 1
    assert clock.monotonic() == started
    program.take()
    assert clock.monotonic() == started + WAIT


def test_without_nomad_it_is_not_ready_but_keeps_the_tree(nomad: FakeNomad, program: LogLinks, tmp_path: Path) -> None:
    nomad.register_job(job("shop"))
    nomad.failures["watch_node"] = Unreachable("away", hint="")
    with pytest.raises(Unreachable):
        program.take()
    assert program.why_not_ready() == "there was no good turn yet"
