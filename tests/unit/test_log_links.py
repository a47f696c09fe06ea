"""The tree of links that names the log files of a node's allocations, and what is kept out of it."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from obsctl.cli.serve import serve
from obsctl.errors import Unreachable
from obsctl.names import LOG_LANES
from obsctl.services import log_files, log_links
from obsctl.services.log_links import LOOK, Allocations, LogLinks, logs_of
from obsctl.services.log_tree import SOON, tree_of
from tests.fakes import FakeClock, FakeNomad
from tests.fakes.nomad import NODE_ID

OWN = "own-allocation"


class Node:
    """A node with log-links on it. allocations: the client's alloc_dir."""

    def __init__(self, allocations: Path) -> None:
        self.clock = FakeClock()
        self.nomad = FakeNomad(clock=self.clock)
        self.allocations = allocations
        (allocations / OWN).mkdir(parents=True)
        self.registry = CollectorRegistry()
        self.start()

    def start(self, own: str = OWN) -> None:
        self.registry = CollectorRegistry()
        self.watch = Allocations(self.nomad, NODE_ID, self.registry, self.clock)
        places: dict[str, Any] = {"allocations": self.allocations, "alloc_id": own}
        self.program = LogLinks(self.watch, **places, registry=self.registry, clock=self.clock)

    def take(self) -> None:
        self.watch.take()
        self.program.take()

    def alloc(self, job: str) -> str:
        (alloc,) = self.nomad.job_allocations(job)
        return str(alloc["ID"])

    def logs(self, job: str) -> Path:
        """The log folder of the job's allocation, as Nomad makes it."""
        folder = self.allocations / self.alloc(job) / "alloc" / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write(self, job: str, *names: str) -> None:
        for name in names or ("server.stdout.0", "server.stderr.0"):
            (self.logs(job) / name).write_text(f"{name} of {job}\n")

    def run(self, job: str, **more: Any) -> None:
        self.nomad.register_job(job_of(job, **more))
        self.write(job)

    @property
    def tree(self) -> set[str]:
        """Paths of links below their lanes."""
        root = tree_of(self.allocations, OWN)
        return {"/".join(path.relative_to(root).parts[1:]) for path in root.rglob("*") if not path.is_dir()}

    def link(self, job: str, name: str) -> Path:
        [link] = tree_of(self.allocations, OWN).glob(f"*/*/{job}/*/*/{name}")
        return link

    def lane(self, job: str, name: str) -> str:
        return self.link(job, name).relative_to(tree_of(self.allocations, OWN)).parts[0]

    def refused(self) -> dict[str, float]:
        counts = {reason: self.registry.get_sample_value("log_links_refused_total", {"reason": reason}) or 0.0
                  for reason in log_files.REASONS}  # fmt: skip
        return {reason: count for reason, count in counts.items() if count}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "alloc")


def job_of(name: str, *, max_files: int = 10, **more: Any) -> dict[str, Any]:
    tasks = [{"Name": "server", "LogConfig": {"MaxFiles": max_files}}]
    return {
        "ID": name,
        "Name": name,
        "Type": "service",
        "TaskGroups": [{"Name": "web", "Count": 1, "Tasks": tasks}],
        **more,
    }


def test_each_log_file_has_a_link_whose_path_names_it(node: Node) -> None:
    node.run("shop")
    node.take()
    place = f"default/shop/web/{node.alloc('shop')}"
    assert node.tree == {f"{place}/server.stdout.0", f"{place}/server.stderr.0"}
    assert node.link("shop", "server.stdout.0").samefile(node.logs("shop") / "server.stdout.0")


def test_a_file_that_nomad_begins_is_linked_and_one_that_it_removes_goes(node: Node) -> None:
    node.run("shop")
    node.take()
    node.write("shop", "server.stdout.1")
    (node.logs("shop") / "server.stdout.0").unlink()
    node.take()
    assert {Path(path).name for path in node.tree} == {"server.stdout.1", "server.stderr.0"}


def test_a_name_that_is_another_file_now_is_linked_anew(node: Node) -> None:
    node.run("shop")
    node.take()
    log = node.logs("shop") / "server.stdout.0"
    (log.parent / "new").write_text("anew\n")
    (log.parent / "new").rename(log)
    node.take()
    assert node.link("shop", "server.stdout.0").read_text() == "anew\n"


def test_one_that_ended_keeps_them_until_nomad_forgets_it(node: Node) -> None:
    node.run("shop")
    node.nomad.stop_job("shop")
    node.take()
    assert len(node.tree) == 2
    node.nomad.collect_garbage("shop")
    node.take()
    assert not list(tree_of(node.allocations, OWN).iterdir())


def test_a_second_turn_changes_nothing(node: Node) -> None:
    node.run("shop")
    node.take()
    root = tree_of(node.allocations, OWN)
    before = {path: path.lstat().st_ctime_ns for path in root.rglob("*")}
    node.take()
    assert {path: path.lstat().st_ctime_ns for path in root.rglob("*")} == before


def test_a_program_that_takes_over_finds_the_tree_as_it_is(node: Node) -> None:
    """After a restart there may be links that are no longer true."""
    stale = tree_of(node.allocations, OWN) / "03" / "default" / "gone" / "web" / "some-id"
    stale.mkdir(parents=True)
    (stale / "server.stdout.0").write_text("")
    node.run("shop")
    node.take()
    assert {path.split("/")[1] for path in node.tree} == {"shop"}


@pytest.mark.parametrize(
    ("meta", "streams"),
    [
        (None, {"stdout", "stderr"}),
        ({"obsctl_logs": "all"}, {"stdout", "stderr"}),
        ({"obsctl_logs": "stderr"}, {"stderr"}),
        ({"obsctl_logs": "none"}, set()),
    ],
)
def test_a_job_says_which_streams_are_collected(meta: dict[str, str] | None, streams: set[str], node: Node) -> None:
    node.run("shop", Meta=meta)
    node.take()
    assert {Path(path).name.split(".")[1] for path in node.tree} == streams


def test_a_word_that_nobody_knows_is_told_and_loses_no_line(caplog: pytest.LogCaptureFixture) -> None:
    alloc = {"ID": "1", "Namespace": "default", "JobID": "shop", "TaskGroup": "web"}
    logs = logs_of({**alloc, "Job": job_of("shop", Meta={"obsctl_logs": "stdrr"})})
    assert (logs.place, logs.streams) == (Path("default/shop/web/1"), {"stdout", "stderr"})
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
    alloc = {"ID": "1", "Namespace": "default", "JobID": name, "TaskGroup": "web"}
    assert logs_of({**alloc, "Job": job_of(name, ParentID=parent)}).place == Path("default", folder, "web", "1")


def evil_symlink(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def evil_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # the name of a socket is short
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def evil_device(path: Path) -> None:
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))


def evil_hard_link(path: Path) -> None:
    secret = path.parents[2] / "secret"
    secret.write_text("secret\n")
    path.hardlink_to(secret)


def evil_owner(path: Path) -> None:
    path.write_text("not Nomad's\n")
    os.chown(path, 65534, 65534)


EVIL = {
    "symlink": evil_symlink,
    "fifo": os.mkfifo,
    "socket": evil_socket,
    "folder": Path.mkdir,
    "hard_link": evil_hard_link,
    "device": pytest.param(evil_device, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")),
    "owner": pytest.param(evil_owner, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")),
}


@pytest.mark.parametrize(
    "reason", [pytest.param(key, marks=getattr(value, "marks", ())) for key, value in EVIL.items()]
)
def test_what_is_no_file_of_nomad_is_not_read(reason: str, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.run("shop")
    node.run("evil")
    log = node.logs("evil") / "server.stdout.0"
    log.unlink()
    evil = EVIL[reason]
    make: Any = getattr(evil, "values", [evil])[0]
    make(log)
    node.take()
    node.take()
    found = {path for path in node.tree if "/evil/" in path}
    assert {Path(path).name for path in found} == {"server.stderr.0"}
    assert len(node.tree - found) == 2
    assert node.refused() == {reason: 1.0}
    assert caplog.text.count("'server.stdout.0' in its log folder is not read") == 1


def test_a_folder_that_leads_elsewhere_is_not_entered(node: Node) -> None:
    """Not even to the logs of another allocation."""
    node.run("shop")
    node.run("evil")
    shutil.rmtree(node.logs("evil"))
    logs = node.allocations / node.alloc("evil") / "alloc" / "logs"
    logs.symlink_to(node.logs("shop"))
    node.take()
    assert {path.split("/")[1] for path in node.tree} == {"shop"}
    assert node.refused() == {"folder": 1.0}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("other.stdout.0", "task"),
        ("../server.stdout.0".replace("/", "\n"), "task"),
        ("server.stdout.0\n", None),
        ("server.stdout.00", None),
        ("server.stdout.1e3", None),
        ("server.stdout.\u0661", None),
        ("app.log", None),
        (".server.stdout.fifo", None),
    ],
)
def test_a_name_that_no_task_has_is_not_read(name: str, reason: str | None, node: Node) -> None:
    node.run("shop")
    node.write("shop", name)
    node.take()
    assert {Path(path).name for path in node.tree} == {"server.stdout.0", "server.stderr.0"}
    assert node.refused() == ({reason: 1.0} if reason else {})


def test_no_more_files_of_a_task_are_read_than_nomad_keeps(node: Node) -> None:
    node.run("shop", max_files=3)
    node.write("shop", *(f"server.stdout.{number}" for number in range(8, 14)))
    node.take()
    names = {Path(path).name for path in node.tree if "stdout" in path}
    assert names == {f"server.stdout.{number}" for number in (13, 12, 11, 10)}
    assert node.refused() == {"number": 3.0}  # 9, 8 and 0


def test_a_folder_of_very_many_names_is_looked_at_so_far(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_files, "MOST", 50)
    node.run("shop")
    node.run("evil")
    node.write("evil", *(f"server.stdout.{number}" for number in range(100)))
    node.take()
    assert len([path for path in node.tree if "/shop/" in path]) == 2
    assert len([path for path in node.tree if "/evil/" in path]) <= 12
    assert node.refused()["many"] == 1


def test_a_file_swapped_for_a_link_all_the_time_never_brings_what_it_leads_to(node: Node, tmp_path: Path) -> None:
    """A loop exchanges a log with a symbolic and with a hard link to a secret."""
    node.run("evil")
    logs, secret = node.logs("evil"), tmp_path / "alloc" / "secret"
    secret.write_text("secret\n")
    stop = threading.Event()

    def swap() -> None:
        log, symlink, hard, good = (logs / name for name in ("server.stdout.0", "s", "h", "g"))
        while not stop.is_set():
            symlink.symlink_to(secret)
            symlink.replace(log)
            hard.hardlink_to(secret)
            hard.replace(log)
            log.unlink()
            good.write_text("good\n")
            good.replace(log)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        seen = set()
        for _ in range(2000):
            node.take()
            for path in tree_of(node.allocations, OWN).rglob("*.*.*"):
                with suppress(FileNotFoundError):
                    seen.add(path.read_text())
    finally:
        stop.set()
        thread.join()
    assert "secret\n" not in seen
    assert "good\n" in seen
    assert {"symlink", "hard_link"} <= set(node.refused())


def test_two_stacks_on_a_node_each_have_their_links(node: Node) -> None:
    """The link of the other stack is no reason to refuse a file."""
    node.nomad.register_job(log_links_job("other"))
    other = node.alloc("other")
    node.run("shop")
    place = tree_of(node.allocations, other) / "busy" / "default" / "shop" / "web" / node.alloc("shop")
    place.mkdir(parents=True)
    (place / "server.stdout.0").hardlink_to(node.logs("shop") / "server.stdout.0")
    node.take()
    assert {Path(path).name for path in node.tree} == {"server.stdout.0", "server.stderr.0"}
    assert node.refused() == {}
    assert node.lane("shop", "server.stdout.0") == "busy"  # where it was read so far, if that agent is over


def test_a_job_of_another_stack_is_collected_by_that_stack_alone(node: Node) -> None:
    node.run("shop")
    for job in ("obs-otel-agent", "obs-alert-sink", "lab-alert-sink"):
        node.run(job, Meta={"obsctl.stack": job.partition("-")[0]})
    node.start(own=node.alloc("obs-otel-agent"))
    node.take()
    found = tree_of(node.allocations, node.alloc("obs-otel-agent")).glob("*/default/*")
    assert {folder.name for folder in found} == {"shop", "obs-otel-agent", "obs-alert-sink"}


def test_each_allocation_stays_in_a_lane_and_they_are_many(node: Node) -> None:
    for number in range(40):
        node.run(f"shop-{number}")
    node.take()
    lanes = {f"shop-{number}": node.lane(f"shop-{number}", "server.stdout.0") for number in range(40)}
    assert len(set(lanes.values())) > 8
    assert "busy" not in lanes.values()
    node.start()
    node.take()
    assert lanes == {job: node.lane(job, "server.stdout.0") for job in lanes}


def test_a_log_that_is_begun_anew_soon_goes_on_in_the_lane_of_busy_ones(node: Node) -> None:
    """What was in another lane stays there, or it would be read twice."""
    node.run("shop")
    node.take()
    node.write("shop", "server.stdout.1", "server.stdout.2")
    node.take()
    node.start()
    node.take()
    names = ("server.stdout.0", "server.stderr.0", "server.stdout.1", "server.stdout.2")
    assert [node.lane("shop", name) == "busy" for name in names] == [False, False, True, True]
    node.clock.sleep(SOON)
    node.write("shop", "server.stdout.3")
    node.take()
    assert node.lane("shop", "server.stdout.3") != "busy"


def test_the_tree_of_an_agent_that_ended_is_removed(node: Node) -> None:
    """It would keep on the disk what Nomad has removed."""
    node.nomad.register_job(log_links_job("obs-otel-agent"))
    tree = tree_of(node.allocations, node.alloc("obs-otel-agent"))
    (tree / "default").mkdir(parents=True)
    node.take()
    assert tree.is_dir()
    node.nomad.stop_job("obs-otel-agent")
    node.take()
    assert not tree.exists()


def poser(node: Node, *tasks: str) -> Path:
    """The folder "links" of a job that has these tasks: Nomad makes their folders for everybody to write."""
    job = log_links_job("poser")
    job["TaskGroups"][0]["Tasks"] = [{"Name": name} for name in tasks]
    node.nomad.register_job(job)
    for name in ("log-links", "links"):
        (node.allocations / node.alloc("poser") / name).mkdir(parents=True)
        (node.allocations / node.alloc("poser") / name).chmod(0o777)
    return node.allocations / node.alloc("poser") / "links"


def test_a_task_that_is_called_like_the_tree_stops_nobody(node: Node) -> None:
    """Its templates make files where others look for folders."""
    links = poser(node, "log-links", "links")
    for lane in LOG_LANES:
        (links / lane).write_text("")
    node.run("shop")
    node.take()
    assert {path.split("/")[1] for path in node.tree} == {"shop"}
    assert node.refused() == {}
    node.nomad.stop_job("poser")
    node.take()
    assert {path.name for path in links.iterdir()} == set(LOG_LANES), "its own files are Nomad's to remove"


@pytest.mark.parametrize("why", ["task", "mode", "symlink"])
def test_a_link_that_others_could_make_does_not_count_as_ours(why: str, node: Node, tmp_path: Path) -> None:
    """Nomad made the folder for a task, everybody may write to it, or it leads elsewhere: a link would count twice."""
    links = poser(node, "log-links", *(["links"] if why == "task" else []))
    links.chmod(0o777 if why == "mode" else 0o755)
    if why == "symlink":
        links.rename(tmp_path / "elsewhere")
        links.symlink_to(tmp_path / "elsewhere")
    node.run("evil")
    place = links / "busy" / "default" / "evil" / "web" / node.alloc("evil")
    place.mkdir(parents=True)
    (place / "server.stdout.0").hardlink_to(node.logs("evil") / "server.stdout.0")
    node.take()
    assert {Path(path).name for path in node.tree} == {"server.stderr.0"}
    assert node.refused() == {"hard_link": 1.0}


def log_links_job(name: str) -> dict[str, Any]:
    job = job_of(name)
    job["TaskGroups"][0]["Tasks"] = [{"Name": "log-links"}]
    return job


def test_one_allocation_that_cannot_be_looked_at_does_not_stop_the_others(node: Node) -> None:
    node.run("shop")
    node.run("long" * 100)  # no folder has such a name
    node.take()
    assert {path.split("/")[1] for path in node.tree} == {"shop"}
    assert set(node.refused()) == {"error"}


def test_an_allocation_whose_folder_goes_meanwhile_is_no_failure(node: Node) -> None:
    node.run("shop")
    node.take()
    shutil.rmtree(node.allocations / node.alloc("shop"))
    node.take()
    assert node.tree == set()
    assert node.refused() == {}


def test_what_failed_is_done_again_without_waiting_for_a_change(node: Node) -> None:
    node.run("shop")
    root = tree_of(node.allocations, OWN)
    root.write_text("in the way")
    with pytest.raises(OSError, match="links"):
        node.take()
    root.unlink()
    started = node.clock.monotonic()
    node.program.take()
    assert len(node.tree) == 2
    assert node.clock.monotonic() == started + LOOK


def test_not_one_link_is_a_failure_of_log_links(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the folder of the allocations is a volume that may not be written to, or two."""
    node.run("shop")

    def refuse(*_args: object, **_more: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError, match="cross-device"):
        node.take()
    assert node.program.why_not_ready() == "there was no good turn yet"


def test_without_nomad_it_is_not_ready_but_keeps_the_tree(node: Node) -> None:
    node.run("shop")
    node.take()
    node.start()
    node.nomad.failures["watch_node"] = Unreachable("away", hint="")
    with pytest.raises(Unreachable):
        node.take()
    node.program.take()
    assert node.program.why_not_ready() == "there was no good turn yet"
    assert len(node.tree) == 2


def test_the_command_starts_it_for_the_allocations_of_all_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(log_links, "run", lambda nomad, node_id, **more: told.update(more, node=node_id, nomad=nomad))
    arguments = ["log-links", "--node=n", "--allocations=/nomad/x/alloc/../..", "--alloc-id=a"]
    result = CliRunner().invoke(serve, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert (told["node"], told["allocations"], told["alloc_id"]) == ("n", Path("/nomad"), "a")
