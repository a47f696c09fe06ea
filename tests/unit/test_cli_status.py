"""obsctl status as a user types it: the table, drift, narrow terminals, --watch, --json."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from obsctl.cli import status
from obsctl.errors import Forbidden, Unreachable
from obsctl.model import Json
from tests.command import Obsctl
from tests.world import World

FAILING = {"name": "mine", "rules": [{"name": "A", "query": "up", "health": "err"}]}


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


def test_a_drained_node_that_is_off_is_told_and_no_fault(stack: World, obsctl: Obsctl) -> None:
    off = {**stack.nomad.node_stubs[0], "ID": "n1", "Name": "n1", "Status": "down"}
    stack.nomad.node_stubs.append({**off, "SchedulingEligibility": "ineligible"})
    stack.prometheus.active_targets = [{"labels": {"job": "nomad", "node": "n1"}, "health": "down"}]
    ran = obsctl("status")
    assert ran.code == 0
    assert "No fault: nothing answers on n1, which has 1 target; it was drained or made ineligible before." in ran.out


def test_a_prometheus_that_has_just_begun(stack: World, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = [{**target, "health": "unknown"} for target in stack.prometheus.targets()]
    monkeypatch.setattr(stack.prometheus, "targets", lambda: begun)
    ran = obsctl("status")
    assert (ran.code, row(ran.out, "warden").split()[5]) == (0, "-")
    assert "Prometheus: 0 of 4 targets are up: it has scraped nothing yet; " in ran.out


def test_a_prometheus_that_is_away_or_cannot_evaluate_is_a_fault(stack: World, obsctl: Obsctl) -> None:
    stack.prometheus.groups = [FAILING]
    ran = obsctl("status")
    assert (ran.code, "Fault: Prometheus cannot evaluate 1 of " in ran.out) == (1, True)
    stack.prometheus.failures["*"] = Unreachable("Prometheus: no connection", hint="")
    ran = obsctl("status")
    assert ran.code == 1
    assert "Fault: Prometheus does not say what it scrapes: Prometheus: no connection" in ran.out


@pytest.mark.parametrize(
    ("width", "names"),
    [
        (200, "client-1, client-2, client-3, client-4, client-5"),
        (130, "client-1, client-2 and 3 more"),
        (110, "client-1 and 4 more"),
    ],
)
def test_nodes_are_named_as_far_as_they_fit(
    stack: World, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch, width: int, names: str
) -> None:
    stack.nomad.register_job({**stack.nomad.job("obs-warden"), "Type": "system"})
    here = stack.nomad.job_allocations("obs-warden")[0]
    everywhere = [{**here, "ID": f"a{n}", "NodeID": f"n{n}", "NodeName": f"client-{n}"} for n in range(1, 6)]
    usual = stack.nomad.job_allocations
    monkeypatch.setattr(
        stack.nomad, "job_allocations", lambda job_id: everywhere if job_id == "obs-warden" else usual(job_id)
    )
    monkeypatch.setenv("COLUMNS", str(width))
    ran = obsctl("status")
    assert f"  {names}  " in next(line for line in ran.out.splitlines() if line.startswith("warden"))


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
    assert (document["schema"], document["healthy"]) == ("obsctl/status/v3", True)
    found = next(each for each in document["components"] if each["component"] == "prometheus")
    [instance] = found["instances"]
    assert (instance["node"], instance["state"], instance["checks_passing"], instance["checks"]) == (
        "node-1", "running", 2, 2
    )  # fmt: skip
    assert (found["scraping"], found["replaced"], found["drift"]) == ({"up": 1, "targets": 1}, [], [])
    assert document["scraping"] == {"up": 4, "targets": 4}
    assert (document["evaluation"]["failing"], document["faults"], document["nodes"]) == (0, [], [])
    assert found["job_version"] == 0


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


def nothing() -> None:
    """Only time passes."""


def watch(monkeypatch: pytest.MonkeyPatch, *happenings: Callable[[], object]) -> None:
    monkeypatch.setattr(status, "SYSTEM_CLOCK", Ticks(*happenings))


def test_in_a_pipe_each_change_is_a_line(stack: World, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch) -> None:
    watch(monkeypatch, nothing, lambda: stack.nomad.stop_job("obs-warden"), nothing)
    ran = obsctl("status", "--watch")
    assert ran.code == 130
    lines = ran.out.splitlines()
    assert [words for words in map(untimed, lines[:6]) if words.startswith("Prometheus")] == [
        "Prometheus: 4 of 4 targets are up",
        f"Prometheus: {rules(stack)} rules",
    ]
    assert lines[6:] == [
        "1970-01-01T00:00:04Z warden: stopped 0/1: somebody stopped its job",
        "1970-01-01T00:00:04Z Prometheus: 3 of 3 targets are up",
    ]


def untimed(line: str) -> str:
    return line.partition(" ")[2]


def rules(stack: World) -> int:
    return sum(len(group["rules"]) for group in stack.prometheus.rule_groups())


def later(monkeypatch: pytest.MonkeyPatch, obsctl: Obsctl, *happenings: Callable[[], object]) -> list[str]:
    """What a watch says after its first look."""
    watch(monkeypatch)
    first = len(obsctl("status", "--watch").out.splitlines())
    watch(monkeypatch, *happenings)
    return [untimed(line) for line in obsctl("status", "--watch").out.splitlines()[first:]]


def of_node(stack: World, health: str) -> Callable[[], None]:
    """From now on the only target of node n1 is like this."""
    return lambda: setattr(
        stack.prometheus, "active_targets", [{"labels": {"job": "nomad", "node": "n1"}, "health": health}]
    )


class TestChanges:
    def test_a_node_falls_silent_and_answers_again(
        self, stack: World, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        of_node(stack, "up")()
        assert later(monkeypatch, obsctl, *(of_node(stack, health) for health in ("down", "unknown", "up"))) == [
            "Prometheus: 4 of 5 targets are up",
            "nothing answers on n1, which has 1 target",
            "Prometheus: 5 of 5 targets are up",
            "node n1 answers again",
        ]

    def test_a_silent_node_leaves(self, stack: World, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch) -> None:
        of_node(stack, "down")()
        assert later(monkeypatch, obsctl, stack.prometheus.active_targets.clear) == [
            "Prometheus: 4 of 4 targets are up",
            "node n1 is no target any more",
        ]

    def test_rules_fail_and_are_well_again(self, stack: World, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch) -> None:
        before, groups = rules(stack), stack.prometheus.groups
        assert later(monkeypatch, obsctl, lambda: groups.append(FAILING), groups.clear) == [
            f"Prometheus: {before + 1} rules, 1 of which cannot be evaluated",
            f"Prometheus: {before} rules",
        ]

    def test_prometheus_goes_and_comes_and_no_node_is_said_to_answer_meanwhile(
        self, stack: World, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        of_node(stack, "down")()
        away, failures = Unreachable("Prometheus: no connection", hint=""), stack.prometheus.failures
        assert later(monkeypatch, obsctl, lambda: failures.update({"*": away}), failures.clear) == [
            "Prometheus does not say what it scrapes: Prometheus: no connection",
            "Prometheus sees targets again",
        ]

    def test_a_prometheus_without_any_target_is_blind(
        self, stack: World, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        targets = stack.prometheus.targets()

        def have(there: list[Json]) -> Callable[[], None]:
            return lambda: monkeypatch.setattr(stack.prometheus, "targets", lambda: there)

        stack.clock.sleep(120)  # so that it has not just started
        words = later(monkeypatch, obsctl, have([]), have(targets))
        assert "Prometheus scrapes nothing: it has no target" in words
        assert words[-1] == "Prometheus sees targets again"

    def test_drift_begins_and_ends(self, stack: World, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch) -> None:
        job = stack.nomad.job("obs-warden")
        begin, end = (lambda: stack.nomad.register_job({**job, "Priority": 77})), lambda: stack.nomad.register_job(job)
        meanwhile = [nothing] * 16  # drift is looked for every 30 seconds
        words = later(monkeypatch, obsctl, begin, *meanwhile, end, *meanwhile)
        drift = ("job obs-warden: it was changed outside obsctl", "Priority: 77 → None")
        assert words == [f"warden: {how}: {each}" for how in ("drift", "no drift any more") for each in drift]

    def test_checks_of_a_component(self, stack: World, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch) -> None:
        own = f"_nomad-task-{stack.nomad.job_allocations('obs-warden')[0]['ID']}-"
        words = later(monkeypatch, obsctl, lambda: stack.consul.register("warden", instance=own, status="critical"))
        assert "warden: 1 of 2 checks pass" in words


def test_the_watch_says_once_that_a_server_is_away_and_that_it_is_back(
    stack: World, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Unreachable("Nomad: no connection", hint="")
    watch(monkeypatch, lambda: stack.nomad.failures.update({"*": away}), nothing, stack.nomad.failures.clear)
    ran = obsctl("status", "--watch")
    assert ran.err.count("Nomad: no connection; waiting for it") == 1
    assert untimed(ran.out.splitlines()[-1]) == "the servers answer again"


def test_a_watch_has_no_json_document(stack: World, obsctl: Obsctl) -> None:
    assert obsctl("status", "--watch", "--json").code == 2
