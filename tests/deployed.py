"""The demo stack on a real cluster, driven as a user drives it: by the obsctl command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import requests

from obsctl.cli import wire
from obsctl.cli.wire import Clients
from obsctl.clients.programs import Programs
from obsctl.config.catalog import Components
from obsctl.config.demo import Demo
from obsctl.config.load import Loaded, load
from obsctl.drills import recipes
from obsctl.drills.plan import experiment, gate, target
from obsctl.drills.tell import journal
from obsctl.drills.world import World
from obsctl.errors import ObsctlError
from obsctl.local.cluster import LocalCluster
from obsctl.wait import wait_until
from tests.command import plain_environ
from tests.ports import free_port
from tests.world import ALERT_PATH, OTHERS_OFF

OBSCTL = str(Path(sys.executable).parent / "obsctl")
TELEMETRY = ("victorialogs", "jaeger", "otel-gateway", "otel-agent")
_USED = r'system_filesystem_usage_bytes\{.*mountpoint="([^"]+)".*state="used".*\} (\S+)'
DEMO = ("hello-service", "response-service", "traffic")


@dataclass(frozen=True)
class Stack:
    """A deployed stack. `folder` holds its obsctl.yaml and its state (journals).

    cluster: None for servers that are no local cluster.
    """

    cluster: LocalCluster
    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        own = {"XDG_STATE_HOME": str(self.folder / "state"), "OBSCTL_CONFIG": str(self.folder / "obsctl.yaml")}
        if self.cluster:
            own["OBSCTL_DEV_STATE_DIR"] = str(self.cluster.folder.path)
        return {**plain_environ(), **own, "NO_COLOR": "1"}

    @property
    def loaded(self) -> Loaded:
        file, access = self.folder / "obsctl.yaml", self.cluster.access.overlay
        texts = tuple(path.read_bytes() for path in (file, access) if path.exists())
        return _loaded(file, access, frozenset(self.cluster.control.running()), texts)

    @property
    def clients(self) -> Clients:
        return wire.clients(self.loaded.config)

    @property
    def programs(self) -> Programs:
        return self.clients.programs

    @property
    def world(self) -> World:
        clients, config = self.clients, self.loaded.config
        return World(
            stack=config.stack, namespace="default", nomad=clients.nomad, consul=clients.consul,
            programs=clients.programs, secret=recipes.secret(clients.nomad, config.stack),
            heartbeat=config.timing.heartbeat, emit=lambda _: None,
        )  # fmt: skip

    def change(self, component: str, **keys: Any) -> None:
        """Set keys of a component in obsctl.yaml."""
        file = self.folder / "obsctl.yaml"
        config = json.loads(file.read_text())
        config["components"].setdefault(component, {}).update(keys)
        file.write_text(json.dumps(config, indent=2))

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """obsctl with these arguments, running."""
        return subprocess.Popen(
            [OBSCTL, *arguments], env={**self.environ, **more}, cwd=self.folder, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: str, code: int | None = 0, **more: str) -> subprocess.CompletedProcess[str]:
        """obsctl to its end, which must be with this exit code (None: with any)."""
        process = self.start(*arguments, **more)
        out, err = process.communicate(timeout=300)
        ended = subprocess.CompletedProcess(process.args, process.returncode, out, err)
        assert code is None or ended.returncode == code, f"exit {ended.returncode}\n{out}\n{err}"
        # A document may hold one that is not obsctl's own: a span's exception, a program's line.
        assert "Traceback" not in (err if "--json" in arguments else out + err)
        return ended

    def start_drill(self, until: str, *options: str) -> subprocess.Popen[str]:
        """A drill that has come so far: to a record of this kind, or to "stage:NAME"."""
        for old in self._journals():
            old.unlink()
        process = self.start("drill", "stop", "response-service", "--yes", *options)
        wait_until(
            lambda: until in self._recorded(),
            timeout=120,
            interval=0.02,
            failure=f"no sign of the record {until}",
            hint="",
        )
        return process

    def last_drill(self) -> dict[str, Any]:
        """The report of the newest drill, as `drill report` has it: verdict and journal."""
        return self.json("drill", "report", "last")

    def _journals(self) -> list[Path]:
        return sorted((self.folder / "state/obsctl/drills/obs").glob("*.jsonl"))

    def _recorded(self) -> list[str]:
        """The kinds of the newest journal's records; of a stage, "stage:NAME"."""
        paths = self._journals()
        try:
            records = journal.read(paths[-1]) if paths else []
        except ObsctlError:  # it was just made, and is still empty
            records = []
        return [f"stage:{record.data['stage']}" if record.kind == "stage" else record.kind for record in records]

    def json(self, *arguments: str, code: int | None = 0, **more: str) -> dict[str, Any]:
        """The one JSON document that the command prints."""
        document: dict[str, Any] = json.loads(self.run("--json", *arguments, code=code, **more).stdout)
        return document

    def told(
        self, since: float, *, of: Sequence[str] = ("node",), but: Collection[str] = ("Watchdog",)
    ) -> list[tuple[str, str, str]]:
        """Name, status, and the first of the labels `of` of each alert in each notification, but for these names."""
        found = self.programs.sink.notifications(since=since)
        alerts = [(alert["labels"], alert["status"]) for each in found for alert in each["payload"]["alerts"]]
        return [
            (labels["alertname"], status, next((labels[name] for name in of if labels.get(name)), ""))
            for labels, status in alerts
            if labels["alertname"] not in but
        ]

    def not_up(self) -> list[str]:
        """Targets whose last scrape failed, or that have not been scraped yet, and of which Prometheus."""
        return [
            f"{target['labels']} of {one.address}: {target['health']}"
            for one in self.programs.prometheus.each()
            for target in one.targets()
            if target["health"] != "up"
        ]

    def wait_all_up(self, within: float = 30) -> None:
        """within: seconds."""
        wait_until(lambda: not self.not_up(), timeout=within, failure="no sign of all targets up", hint="")

    def not_steady(self, service: str = "response-service") -> list[str]:
        """Why a drill could not start now; empty when it could."""
        drill, world = experiment.load("stop", service), self.world
        try:
            found = gate.check(target.find(drill, world), world)
        except ObsctlError as error:
            return [error.message]
        return [f"{finding.where}: {finding.what}" for finding in found]

    def wait_steady(self, service: str = "response-service") -> None:
        failure = "no sign of the stack to be steady"
        wait_until(lambda: not self.not_steady(service), timeout=90, failure=failure, hint="", interval=1)


@cache
def _loaded(file: Path, access: Path, running: frozenset[str], _texts: tuple[bytes, ...]) -> Loaded:
    """Read once as long as nothing has changed: many tests ask some times a second."""
    return load(file, environ={}, access=access, running=running)


def write_config(
    folder: Path,
    cluster: LocalCluster,
    *,
    components: Iterable[str] = ALERT_PATH,
    demo: Iterable[str] = DEMO,
    requests_per_second: float = 1.0,
    **more: Any,
) -> None:
    """An obsctl.yaml for this cluster: these components and demo services, with free ports, and no others.

    requests_per_second: a quarter of what traffic sends unless told otherwise, for half of the demo's processor time.
    """
    wanted = {**dict.fromkeys(components, Components), **dict.fromkeys(demo, Demo)}
    ports = {name: {key: free_port() for key in port_keys(section, name)} for name, section in wanted.items()}
    off = {name: {"enabled": False} for name in DEMO}
    config = {
        "stack": "obs",
        "driver": "raw_exec",
        "timing": "fast",
        "nomad": {"address": cluster.addresses.nomad},
        "consul": {"address": cluster.addresses.consul},
        "components": {**OTHERS_OFF, **{name: ports[name] for name in components}},
        "demo": {
            "enabled": True,
            "requests_per_second": requests_per_second,
            **off,
            **{name: ports[name] for name in demo},
        },
    }
    (folder / "obsctl.yaml").write_text(json.dumps({**config, **more}, indent=2))


def owners_below(folder: Path) -> set[int]:
    """The uids to whom the files belong."""
    owners = set()
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # what is written at the moment comes and goes
            if file.is_file():
                owners.add(file.stat().st_uid)
    return owners


def port_keys(section: type[Components] | type[Demo], name: str) -> list[str]:
    """The keys of a component's ports: port, grpc_port."""
    settings = getattr(section(), name.replace("-", "_"))
    return [key for key in type(settings).model_fields if key.endswith("port")]


def node_disks(stack: Stack) -> dict[str, float]:
    """What an agent has measured: mount point -> bytes that are used."""
    [entry] = stack.clients.consul.health("otlp-metrics")
    page = f"http://{entry['Service']['Address']}:{entry['Service']['Port']}/metrics"

    def found() -> dict[str, float]:
        text = requests.get(page, timeout=10).text
        return {name: float(used) for name, used in re.findall(_USED, text)}

    return wait_until(found, timeout=60, failure="no sign of the node's disks in the metrics", hint="")
