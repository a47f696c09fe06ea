"""obsctl status as a user types it: the table, drift, narrow terminals, --watch, --json."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from obsctl.cli import status
from obsctl.errors import Forbidden, Unreachable
from tests.command import Obsctl
from tests.world import World


@pytest.fixture
def stack(folder: Path, obsctl: Obsctl, world: World) -> World:
    assert obsctl("deploy", "--yes").code == 0
    return world


def row(text: str, component: str) -> str:
    return next(" ".join(line.split()) for line in text.splitlines() if line.startswith(component))


def test_a_healthy_stack(stack: World, obsctl: Obsctl) -> None:
    ran = obsctl("status")
    assert ran.code == 0
    assert row(ran.out, "COMPONENT") == "COMPONENT STATE RUNNING NODE CHECKS TARGETS VERSION DRIFT ADDRESS"
    assert row(ran.out, "prometheus") == "prometheus healthy 1/1 node-1 2/2 1/1 0.1.0 - http://127.0.0.1:80"
    assert ran.out.splitlines()[-1].startswith("Prometheus: 4 of 4 targets are up; ")


def test_a_lost_node_is_a_fault(stack: World, obsctl: Obsctl) -> None:
    stack.prometheus.active_targets = [{"labels": {"job": "nomad", "node": "n1"}, "health": "down"}]
    ran = obsctl("status")
    assert ran.code == 1
    assert "nothing answers on n1, which has 1" in ran.out


def test_a_prometheus_that_has_just_begun(stack: World, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack.prometheus, "targets", list)
    ran = obsctl("status")
    assert (ran.code, row(ran.out, "warden").split()[5]) == (1, "-")
    assert "Prometheus: 0 of 0 targets are up: it has scraped nothing yet; " in ran.out


def test_what_was_changed_outside_is_drift_and_no_fault(stack: World, obsctl: Obsctl) -> None:
    job = stack.nomad.job("obs-warden")
    stack.nomad.register_job({**job, "Priority": 77})
    stack.consul.put("obsctl/obs/config/theirs", b"x")
    ran = obsctl("status")
    assert ran.code == 0
    assert row(ran.out, "warden").split()[7] == "yes"
    assert "    drift: job obs-warden: it was changed outside obsctl" in ran.out
    assert "drift: content obsctl/obs/config/theirs: no longer in the config" in ran.out


def test_who_may_not_plan_is_told_that_drift_is_not_known(stack: World, obsctl: Obsctl) -> None:
    stack.nomad.failures["plan_job"] = Forbidden("Nomad: 403", hint="")
    ran = obsctl("status")
    assert (ran.code, row(ran.out, "warden").split()[7]) == (0, "?")
    assert "Drift is not known: Nomad: 403" in ran.out


def test_it_reads_no_secret(stack: World, obsctl: Obsctl) -> None:
    before = len(stack.nomad.called("variable"))
    obsctl("status")
    assert len(stack.nomad.called("variable")) == before


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_it_fits_a_narrow_terminal(stack: World, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    stack.nomad.stop_job("obs-warden")
    monkeypatch.setenv("COLUMNS", str(width))
    ran = obsctl("status")
    assert max(map(len, ran.out.splitlines())) <= width
    assert row(ran.out, "warden").startswith("warden stopped 0/1")


def test_as_json_it_is_complete(stack: World, obsctl: Obsctl) -> None:
    document = obsctl("status", "--json").document()
    assert (document["schema"], document["healthy"]) == ("obsctl/status/v2", True)
    found = next(each for each in document["components"] if each["component"] == "prometheus")
    [instance] = found["instances"]
    assert (instance["node"], instance["state"], instance["checks_passing"], instance["checks"]) == (
        "node-1", "running", 2, 2
    )  # fmt: skip
    assert (found["scraping"], found["replaced"], found["drift"]) == ({"up": 1, "targets": 1}, [], [])
    assert document["scraping"] == {"up": 4, "targets": 4}
    assert document["evaluation"]["failing"] == 0


class Ticks:
    """A clock that ends the watch by Ctrl-C after so many looks, and lets something happen before some of them."""

    def __init__(self, *happenings: Callable[[], object]) -> None:
        self.left, self.time = list(happenings), 0.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        if not self.left:
            raise KeyboardInterrupt
        self.left.pop(0)()


def watch(monkeypatch: pytest.MonkeyPatch, *happenings: Callable[[], object]) -> None:
    monkeypatch.setattr(status, "SYSTEM_CLOCK", Ticks(*happenings))


def test_in_a_pipe_each_change_is_a_line(stack: World, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> None:
        """Only time passes."""

    watch(monkeypatch, nothing, lambda: stack.nomad.stop_job("obs-warden"), nothing)
    ran = obsctl("status", "--watch")
    assert ran.code == 130
    lines = ran.out.splitlines()
    assert len(lines) == 4 + 1
    assert lines[-1] == "1970-01-01T00:00:04Z warden: stopped 0/1: somebody stopped its job"


def test_a_server_that_goes_away_is_waited_for(stack: World, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch) -> None:
    away = Unreachable("Nomad: no connection", hint="")
    watch(monkeypatch, lambda: stack.nomad.failures.update({"*": away}), stack.nomad.failures.clear)
    ran = obsctl("status", "--watch")
    assert (ran.code, len(ran.out.splitlines())) == (130, 4)
    assert "Nomad: no connection; waiting for it" in ran.err


def test_a_watch_has_no_json_document(stack: World, obsctl: Obsctl) -> None:
    assert obsctl("status", "--watch", "--json").code == 2
