"""A real agent, as it is rendered: of the logs of a node's allocations no line is left out."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from obsctl.services.log_files import Logs
from obsctl.services.log_tree import LogTree
from obsctl.wait import wait_until
from tests.log_agent import Agent, running_agent
from tests.stub_server import Answer

pytestmark = pytest.mark.real

AWAY = Answer(status=503)
HERE = Answer()


def test_allocations_whose_logs_begin_alike_are_each_read_whole(tmp_path: Path) -> None:
    """A banner without times, as programs on the JVM print it, is longer than what tells files apart by default."""
    banner = ["=" * 78] * 30
    with running_agent(tmp_path, queue=64) as agent:
        agent.write("old", *banner, "the old one is ready")
        wait_until(
            lambda: "the old one is ready" in agent.arrived(), timeout=30, failure="no sign of the first log", hint=""
        )
        agent.write("new", *banner, "the new one is ready")
        wait_until(
            lambda: "the new one is ready" in agent.arrived(),
            timeout=30,
            failure="no sign of the second log",
            hint="",
        )
    assert sorted(agent.arrived()) == sorted([*banner, *banner, "the old one is ready", "the new one is ready"])


def test_lines_for_which_the_queue_has_no_room_are_read_again(tmp_path: Path) -> None:
    lines = [f"{number:06d} {'x' * 500}" for number in range(8000)]
    with running_agent(tmp_path, queue=1) as agent:
        agent.gateway.answers = [AWAY]
        agent.write("one", *lines)
        wait_until(lambda: agent.refused() > 0, timeout=30, failure="no sign of a full queue", hint="")
        agent.gateway.asked.clear()
        agent.gateway.answers = [HERE]
        wait_until(lambda: set(lines) <= set(agent.arrived()), timeout=60, failure="no sign of every line", hint="")


@pytest.mark.parametrize("job", ["team/app", "50%", "..", "%2F"])
def test_a_job_has_its_own_name_whatever_that_is(job: str, tmp_path: Path) -> None:
    with running_agent(tmp_path, queue=64) as agent:
        agent.write("one", "ready", job=job)
        wait_until(lambda: agent.arrived() == ["ready"], timeout=30, failure="no sign of the line", hint="")
        [(resource, _)] = agent.records()
    assert (resource["service.name"], resource["nomad.job"], resource["nomad.group"]) == (job, job, "server")


def has_read(agent: Agent, count: int) -> bool:
    return len(agent.arrived()) >= count


def test_a_log_that_is_begun_anew_all_the_time_is_read_whole_and_once(tmp_path: Path) -> None:
    """Through the tree of a real log-links, which starts anew amid it; files are removed as Nomad does it."""
    logs = Logs("web-1", Path("default/web/web/web-1"), frozenset({"stdout"}), {"server": 4})
    folder, own = tmp_path / "web-1" / "alloc" / "logs", tmp_path / "own"
    folder.mkdir(parents=True)
    own.mkdir()
    lines = [[f"{file:02d} {number:04d} {'x' * 100}" for number in range(300)] for file in range(10)]
    with running_agent(own) as agent:
        for file, of_file in enumerate(lines):
            if file in (0, 5):
                tree = LogTree(tmp_path, "own", CollectorRegistry())
            (folder / f"server.stdout.{file}").write_text("".join(f"{line}\n" for line in of_file))
            (folder / f"server.stdout.{file - 4}").unlink(missing_ok=True)
            tree.look([logs], [tree.root], float(file))
            so_far = partial(has_read, agent, file * 300)
            wait_until(so_far, timeout=30, failure="no sign of lines", hint="")
        wait_until(partial(has_read, agent, 3000), timeout=30, failure="no sign of all lines", hint="")
    assert sorted(agent.arrived()) == sorted(line for of_file in lines for line in of_file)
    assert {path.parts[-6] for path in tree.root.rglob("*.stdout.*")} == {"busy"}
