"""Jobs that put what they like into their log folder: nothing of the node arrives, and nobody else's logs stop."""

from __future__ import annotations

import re
import sys
import time
import zlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from obsctl.clients.instances import url
from obsctl.errors import DeadlineExceeded
from obsctl.model import Json
from obsctl.names import LOG_LANES
from obsctl.wait import wait_until
from tests.deployed import Stack, write_config
from tests.deployed_telemetry import Telemetry
from tests.local_cluster import running_cluster
from tests.otlp import records, send_logs
from tests.world import ALERT_PATH

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.xdist_group("hostile-logs")]

SECRET = "what only root may read"
USUAL = 5.0
"""Seconds after which a line can be searched: poll, the wait for a trace that may follow, batches, flush."""
BEGIN = "import os, socket, time; logs = os.environ['NOMAD_ALLOC_DIR'] + '/logs'; name = logs + '/server.stdout.7'\n"
# Each says something else: of two files that are the same one is read.
LATER = "\nprint('said by a hostile job', os.environ['NOMAD_GROUP_NAME'], flush=True)\ntime.sleep(1000)"
EVIL = {
    "symlink": "os.symlink(SECRET, name)",
    "folder": "os.rename(logs, logs + '.old'); os.mkdir(logs + '.evil'); os.symlink(os.path.dirname(SECRET), logs)",
    "fifo": "os.mkfifo(name)",
    "device": "os.mknod(name, 0o020644, os.makedev(1, 5))",
    "socket": "os.chdir(logs); socket.socket(socket.AF_UNIX).bind('server.stdout.7')",
    "hard_link": "os.link(SECRET, name)",
    "swap": "n = 0\nwhile True:\n"
    " n += 1\n"
    " open(name + '.x', 'w').write('its own\\n'); os.replace(name + '.x', name)\n"
    " os.symlink(SECRET, name + '.x'); os.replace(name + '.x', name)\n"
    " os.link(SECRET, name + '.x'); os.replace(name + '.x', name)\n"
    " os.unlink(name); os.mkfifo(name); os.unlink(name)\n"
    " time.sleep(0.0005)",
    "many": "[open(f'{logs}/server.stdout.{n}', 'w').write('x\\n') for n in range(100, 20000)]",
    "names": "[open(f'{logs}/{n}.stdout.0', 'w').write('of nobody\\n') for n in ('other', 'a\\nb', 'é\\x1b[2J')]",
    "endless": "block = b'y\\n' * 4000\nwhile True: os.write(1, block)",
    "gone": "import shutil; shutil.rmtree(logs)",
}
TALK = "import os, time\nwhile True: print(os.environ['NOMAD_GROUP_NAME'], time.time(), flush=True); time.sleep(0.5)"
QUIET = ("quiet-1", "quiet-2", "quiet-3")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_cluster() as cluster:
        stack = Stack(cluster, tmp_path_factory.mktemp("stack"))
        write_config(stack.folder, cluster, components=("victorialogs", "otel-gateway", "otel-agent"), demo=())
        for name in ALERT_PATH:
            stack.change(name, enabled=False)
        stack.run("deploy", "--yes")
        yield stack


def group(name: str, script: str) -> Json:
    task = {
        "Name": "server",
        "Driver": "raw_exec",
        "Config": {"command": sys.executable, "args": ["-c", script]},
        "Resources": {"CPU": 20, "MemoryMB": 30},
        "LogConfig": {"MaxFiles": 3, "MaxFileSizeMB": 1},
    }
    return {"Name": name, "Count": 1, "Tasks": [task]}


def register(stack: Stack, name: str, **scripts: str) -> None:
    groups = [group(each, script) for each, script in scripts.items()]
    nomad = stack.clients.nomad
    nomad.register_job({"ID": name, "Name": name, "Type": "service", "Datacenters": ["*"], "TaskGroups": groups})
    wait_until(lambda: len(nomad.job_allocations(name)) == len(scripts), timeout=30, failure="no sign of all", hint="")


def pose(stack: Stack) -> None:
    """A job whose tasks are called like an agent's and like its tree, and have files where that has folders."""
    server = group("poser", "import time; time.sleep(1000)")["Tasks"][0]
    files = [{"DestPath": name, "EmbeddedTmpl": "in the way"} for name in LOG_LANES]
    tasks = [{**server, "Name": "log-links"}, {**server, "Name": "links", "Templates": files}]
    job = {"ID": "poser", "Name": "poser", "Type": "service", "Datacenters": ["*"]}
    nomad = stack.clients.nomad
    nomad.register_job({**job, "TaskGroups": [{"Name": "poser", "Count": 1, "Tasks": tasks}]})

    def in_the_way() -> bool:
        ids = [alloc["ID"] for alloc in nomad.job_allocations("poser")]
        return any(list(stack.cluster.folder.path.glob(f"**/{each}/links/{LOG_LANES[0]}")) for each in ids)

    wait_until(in_the_way, timeout=30, failure="no sign of its files", hint="")


def lane(allocation: Json) -> int:
    return zlib.crc32(allocation["ID"].encode()) % (len(LOG_LANES) - 1)


def apart(stack: Stack, job: str) -> set[str]:
    """The groups of the job that do not share a lane with the one that writes without end."""
    allocations = stack.clients.nomad.job_allocations
    [busy] = [lane(alloc) for alloc in allocations("evil") if alloc["TaskGroup"] == "endless"]
    return {alloc["TaskGroup"] for alloc in allocations(job) if lane(alloc) != busy}


def lateness(telemetry: Telemetry, groups: Collection[str] = QUIET) -> float:
    """Seconds since the newest line was written that can be found of each of these groups, of the worst."""
    found = telemetry.lines('{"nomad.job"="quiet"} | last 1 by (_time) partition by (nomad.group)', time.time() - 60)
    newest = {line["nomad.group"]: float(line["_msg"].split()[1]) for line in found}
    return time.time() - min(newest.get(name, 0.0) for name in groups)


def worst_lateness(telemetry: Telemetry, groups: Collection[str], seconds: float) -> float:
    worst, until = 0.0, time.time() + seconds
    while time.time() < until:
        worst = max(worst, lateness(telemetry, groups))
        time.sleep(0.2)
    return worst


def refused(stack: Stack) -> dict[str, float]:
    [entry] = stack.clients.consul.health("log-links")
    page = requests.get(f"{url(entry)}/metrics", timeout=10).text
    return {key: float(value) for key, value in re.findall(r'log_links_refused_total\{reason="(\w+)"\} (\S+)', page)}


def test_hostile_jobs_bring_nothing_in_and_stop_nobody(stack: Stack, tmp_path: Path) -> None:
    telemetry = Telemetry(stack)
    secret = stack.cluster.folder.path / "secret" / "server.stdout.0"  # on the file system of the allocations
    secret.parent.mkdir(mode=0o700)
    secret.write_text(f"{SECRET}\n" * 100)
    secret.chmod(0o600)
    pose(stack)  # whatever starts later is not read, if this counts as an agent
    register(stack, "quiet", **dict.fromkeys(QUIET, TALK))
    wait_until(lambda: lateness(telemetry) < USUAL, timeout=30, failure="no sign of a line", hint="")
    begin = f"SECRET = {str(secret)!r}\n{BEGIN}"
    register(stack, "evil", **{name: begin + script + LATER for name, script in EVIL.items()})
    told = apart(stack, "evil") - {
        "swap",
        "endless",
        "folder",
        "gone",
        "many",
    }  # these say nothing, or take their own logs away
    query, since = '{"nomad.job"="evil"} "said by a hostile job"', time.time()

    def silent() -> set[str]:
        return told - {line["nomad.group"] for line in telemetry.lines(query, since)}

    with suppress(DeadlineExceeded):
        wait_until(lambda: not silent(), timeout=30, failure="", hint="")
    assert silent() == set()
    assert worst_lateness(telemetry, apart(stack, "quiet"), 20) < USUAL
    assert telemetry.lines(f'"{SECRET}"', time.time() - 300) == []
    assert telemetry.lines('"of nobody"', time.time() - 300) == []
    wanted = {"symlink", "folder", "fifo", "device", "socket", "hard_link", "many", "task"}
    wait_until(lambda: {reason for reason, count in refused(stack).items() if count} >= wanted, timeout=60,
               failure=f"no sign of each of {wanted}", hint="")  # fmt: skip
    agent = stack.clients.nomad.job_allocations("obs-otel-agent")[0]["ID"]
    log = stack.clients.nomad.read_log(agent, "log-links.stderr.0", offset=0).decode()
    for reason in ("symbolic link", "FIFO", "device", "socket"):
        assert 1 <= log.count(f"it is a {reason}") <= 2, reason  # once of each of the two allocations that have one


def test_what_comes_by_otlp_does_not_pass_for_what_nomad_wrote(stack: Stack) -> None:
    """Whatever it says of itself, a line tells that a program sent it."""
    telemetry = Telemetry(stack)
    said = {"key": "obsctl.source", "value": {"stringValue": "file"}}
    nested = {
        "key": "obsctl",
        "value": {"kvlistValue": {"values": [{"key": "source", "value": {"stringValue": "file"}}]}},
    }
    message = {"key": "_msg", "value": {"stringValue": "forged body"}}
    more = {"attributes": [said, nested]}
    lines: list[tuple[int, str, dict[str, Any]]] = [
        (time.time_ns(), "forged line", more),
        (time.time_ns(), "", {"body": {"kvlistValue": {"values": [message, said, nested]}}, **more}),
    ]
    resource = records({"service.name": "quiet", "nomad.job": "quiet", "nomad.node.name": "another"}, *lines)
    resource["resource"]["attributes"] += [said, nested]
    resource["scopeLogs"][0]["scope"]["attributes"] = [said, nested]
    since = time.time() - 60
    send_logs(telemetry.address("otel-agent"), [resource])
    wait_until(lambda: len(telemetry.lines('"nomad.job":=quiet forged', since)) == 2, timeout=30,
               failure="no sign of the forged lines", hint="")  # fmt: skip
    assert telemetry.lines('forged "obsctl.source":=file', since) == []
    forged = telemetry.lines("forged", since)
    assert {line["obsctl.source"] for line in forged} == {"otlp"}
    assert "another" not in {line["nomad.node.name"] for line in forged}
    genuine = telemetry.lines('{"nomad.job"="quiet"} NOT forged', since)
    assert {line["obsctl.source"] for line in genuine} == {"file"}


def test_the_agent_ends_when_it_is_told_to(stack: Stack) -> None:
    started = time.monotonic()
    stack.clients.nomad.stop_job("obs-otel-agent")

    def ended() -> bool:
        return all(
            alloc["ClientStatus"] == "complete" for alloc in stack.clients.nomad.job_allocations("obs-otel-agent")
        )

    wait_until(ended, timeout=60, failure="no sign of the agent's end", hint="", interval=0.2)
    assert time.monotonic() - started < 15  # its kill_timeout is 20 s
