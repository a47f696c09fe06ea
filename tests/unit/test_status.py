"""How a component is, in one line."""

from __future__ import annotations

import pytest

from obsctl.clients.programs import Clients
from obsctl.config.schema import Config
from obsctl.errors import Forbidden, Unreachable
from obsctl.model import Json
from obsctl.stack.scraped import Evaluation, Node, NodeState, Scraping
from obsctl.stack.status import ComponentStatus, StackStatus, status
from tests.world import OTHERS_OFF, World, config

MISSED, OPENED = "Node heartbeat missed", "Node marked as eligible for scheduling"

SMALL = config()
MINE = {"obsctl_stack": "obs"}
OFF = {name: {"enabled": False} for name in ("alert-sink", "alertmanager", "warden")}
ONE = config(components={**OTHERS_OFF, **OFF})
WITHOUT = config(components={"prometheus": {"enabled": False}, "alertmanager": {"enabled": False}})
MARKS = {"obsctl.component": "prometheus"}
JOB = {"ID": "obs-prometheus", "Meta": MARKS, "TaskGroups": [{"Name": "x", "Count": 1, "Tasks": []}]}


@pytest.fixture
def world() -> World:
    return World()


def look(world: World, wanted: Config = SMALL) -> StackStatus:
    return status(wanted, Clients(world.nomad, world.consul, world.programs), world.clock)


def states(world: World) -> dict[str, str]:
    return {item.component: f"{item.state} {item.running}/{item.wanted}" for item in look(world).components}


def test_components_that_are_not_there(world: World) -> None:
    assert set(states(world).values()) == {"missing 0/0"}


def test_components_that_run(world: World) -> None:
    world.deploy(SMALL)
    assert set(states(world).values()) == {"healthy 1/1"}
    world.nomad.stop_job("obs-warden")
    assert states(world)["warden"] == "stopped 0/1"


def test_a_system_job_wants_as_many_as_nomad_gave_it_nodes(world: World) -> None:
    world.deploy(SMALL)
    world.nomad.register_job({**world.nomad.job("obs-warden"), "Type": "system"})
    here = world.nomad.job_allocations("obs-warden")
    elsewhere = {**here[0], "NodeID": "other", "ClientStatus": "pending"}
    usual = world.nomad.job_allocations
    world.nomad.job_allocations = (  # type: ignore[method-assign]
        lambda job_id: [*here, elsewhere] if job_id == "obs-warden" else usual(job_id)
    )
    assert states(world)["warden"] == "unhealthy 1/2"


def one(world: World) -> ComponentStatus:
    [found] = look(world, ONE).components
    return found


def test_a_service_of_another_job_is_not_ours(world: World) -> None:
    world.nomad.register_job(JOB)
    world.consul.register("prometheus", instance=world.nomad.place("other-prometheus"), port=1, meta=MINE)
    assert (one(world).address, one(world).state, one(world).note) == ("", "unhealthy", "not registered in Consul")
    world.consul.register("prometheus", instance=mine(world), port=2)
    assert (one(world).address, one(world).state) == ("http://127.0.0.1:2", "healthy")


def test_what_fails_in_another_job_does_not_make_ours_unhealthy(world: World) -> None:
    world.nomad.register_job(JOB)
    own, theirs = mine(world), world.nomad.place("other-prometheus")
    world.consul.register("prometheus", instance=own)
    world.consul.register("prometheus", instance=theirs, status="critical")
    assert one(world).state == "healthy"
    world.consul.register("prometheus", instance=own, status="critical")
    assert (one(world).state, one(world).note) == ("unhealthy", f"{own}-check: critical")


def test_the_checks_of_what_else_its_job_registers_count_too(world: World) -> None:
    """log-links beside the collector of each node."""
    services = [{"Name": name} for name in ("prometheus", "links")]
    world.nomad.register_job({**JOB, "TaskGroups": [{**JOB["TaskGroups"][0], "Services": services}]})
    world.consul.register("prometheus", instance=mine(world))
    world.consul.register("links", instance=f"{mine(world)}links", status="critical")
    [instance] = one(world).instances
    assert (one(world).state, one(world).note) == ("unhealthy", f"{mine(world)}links-check: critical")
    assert (instance.checks_passing, instance.checks) == (2, 3)  # the node's is counted once


def test_a_passing_instance_is_shown_before_a_failing_one(world: World) -> None:
    world.nomad.register_job({**JOB, "TaskGroups": [{**JOB["TaskGroups"][0], "Count": 2}]})
    first, second = (f"_nomad-task-{each['ID']}-" for each in world.nomad.job_allocations(JOB["ID"]))
    world.consul.register("prometheus", instance=first, port=1, status="critical")
    world.consul.register("prometheus", instance=second, port=2)
    assert one(world).address == "http://127.0.0.1:2"


class Nodes:
    """Lets one component have run on a node that is lost now."""

    def __init__(self, world: World) -> None:
        self.world, self.usual = world, world.nomad.job_allocations
        world.nomad.node_stubs.append({**world.nomad.node_stubs[0], "ID": "gone", "Name": "node-2", "Status": "down"})
        world.nomad.job_allocations = self.allocations  # type: ignore[method-assign]
        self.earlier: list[Json] = []

    def lose(self, job_id: str, **fields: object) -> None:
        """An allocation of the job was on the node; Consul still has its instance."""
        before = self.usual(job_id)[0]
        self.earlier.append({**before, "ID": LOST, "NodeID": "gone", "NodeName": "node-2", "CreateIndex": 1, **fields})
        service = job_id.removeprefix("obs-")
        self.world.consul.register(service, instance=f"_nomad-task-{LOST}-x", port=1, status="critical")

    def allocations(self, job_id: str) -> list[Json]:
        return [*self.usual(job_id), *(alloc for alloc in self.earlier if alloc["JobID"] == job_id)]


LOST = "99999999-9999-9999-9999-999999999999"


@pytest.mark.parametrize("state", ["lost", "running", "unknown"])
def test_what_was_lost_with_a_node_stands_apart(world: World, state: str) -> None:
    world.deploy(SMALL)
    Nodes(world).lose("obs-prometheus", ClientStatus=state)
    found = next(each for each in look(world).components if each.component == "prometheus")
    assert (found.state, found.note, found.address) == ("healthy", "", "http://127.0.0.1:80")
    [earlier] = found.replaced
    assert (earlier.allocation, earlier.node, earlier.note) == (LOST, "node-2", "node node-2 is down")


def test_a_system_job_does_not_count_on_a_lost_node(world: World) -> None:
    world.deploy(SMALL)
    world.nomad.register_job({**world.nomad.job("obs-warden"), "Type": "system"})
    Nodes(world).lose("obs-warden", ClientStatus="running")
    assert states(world)["warden"] == "healthy 1/1"


def test_what_was_replaced_without_a_lost_node_stands_apart_too(world: World) -> None:
    world.deploy(SMALL)
    nodes = Nodes(world)
    nodes.lose("obs-prometheus", ClientStatus="complete", DesiredStatus="stop", NodeID="11111111")
    found = next(each for each in look(world).components if each.component == "prometheus")
    assert (found.state, found.replaced[0].note) == ("healthy", "Nomad has replaced it")


def test_without_the_right_to_see_nodes_the_checks_say_it(world: World) -> None:
    world.deploy(SMALL)
    world.nomad.failures["nodes"] = Forbidden("no", hint="")
    assert set(states(world).values()) == {"healthy 1/1"}


def tasks(world: World, **states: Json) -> ComponentStatus:
    """Prometheus with a task of its own and these beside it."""
    lifecycles = {"links": {"Hook": "poststart", "Sidecar": True}, "before": {"Hook": "prestart", "Sidecar": False}}
    declared = [{"Name": name, "Lifecycle": lifecycles.get(name)} for name in ("main", *states)]
    world.nomad.register_job({**JOB, "TaskGroups": [{"Name": "x", "Count": 1, "Tasks": declared}]})
    world.nomad.report_allocations(JOB["ID"], TaskStates={"main": {"State": "running"}, **states})
    world.consul.register("prometheus", instance=mine(world))
    return one(world)


def crash(before: str, at: float) -> Json:
    ended = {"Type": "Terminated", "DisplayMessage": "Exit Code: 2", "Details": {"exit_code": "2"}, "Time": at * 1e9}
    return {"State": "running", "Restarts": 4, "Events": [{"Type": before}, ended, {"Type": "Started"}]}


def test_a_task_beside_the_program_must_run_too(world: World) -> None:
    dead = {"State": "dead", "Events": [{"Type": "Not Restarting", "DisplayMessage": "Exceeded allowed attempts"}]}
    failing = tasks(world, links=dead)
    assert (failing.state, failing.note) == (
        "unhealthy",
        "task links does not run (Exceeded allowed attempts)",
    )
    assert tasks(world, before={"State": "dead"}).state == "healthy"


def test_a_task_that_keeps_crashing_is_not_healthy_between_two_crashes(world: World) -> None:
    now = world.clock.now()
    words = "task links crashed less than a minute ago, 4 restarts in all (Exit Code: 2)"
    assert tasks(world, links=crash("Started", now - 20)).note == words
    assert tasks(world, links=crash("Started", now - 200)).note == ""
    assert tasks(world, links=crash("Restart Signaled", now - 20)).note == ""


def test_what_prometheus_does_not_scrape_is_not_healthy(world: World) -> None:
    world.deploy(SMALL)
    targets = world.prometheus.targets()
    for target in targets:
        target["health"] = "down" if target["labels"]["job"] == "warden" else "up"
    world.prometheus.targets = lambda: targets  # type: ignore[method-assign]
    state = look(world)
    found = next(each for each in state.components if each.component == "warden")
    assert (found.state, found.note) == ("unhealthy", "Prometheus scrapes 0 of 1")
    assert state.scraping == Scraping(up=len(targets) - 1, targets=len(targets))


def scrape(world: World, *targets: tuple[str, str, str]) -> None:
    """Prometheus has these targets, too: job, node, health."""
    world.prometheus.active_targets = [
        {"labels": {"job": job, "node": node}, "health": health} for job, node, health in targets
    ]


def test_nodes_of_which_nothing_answers_are_told_apart(world: World) -> None:
    world.deploy(SMALL)
    scrape(world, ("shop", "n1", "down"), ("nomad", "n1", "down"), ("nomad", "n2", "up"), ("shop", "outside", "down"))
    state = look(world)
    assert state.nodes == (Node("n1", NodeState.SILENT, 2), Node("n2", NodeState.ANSWERS, 1))
    assert (state.faults, state.healthy) == (("nothing answers on n1, which has 2 targets",), False)


class TestDrained:
    """A node on which nothing answers, and which somebody drained or closed to new work before."""

    @pytest.fixture(autouse=True)
    def silent(self, world: World) -> None:
        world.deploy(SMALL)
        scrape(world, ("nomad", "n1", "down"), ("consul", "n1", "down"))

    def add(self, world: World, eligibility: str) -> None:
        stub = world.nomad.node_stubs[0]
        world.nomad.node_stubs.append(
            {**stub, "ID": "n1", "Name": "n1", "Status": "down", "SchedulingEligibility": eligibility}
        )

    @pytest.mark.parametrize(
        ("eligibility", "state"), [("ineligible", NodeState.CLOSED), ("eligible", NodeState.SILENT)]
    )
    def test_it_is_no_fault_as_it_is_none_for_the_alert(self, world: World, eligibility: str, state: NodeState) -> None:
        self.add(world, eligibility)
        found = look(world)
        assert (found.nodes, found.healthy) == ((Node("n1", state, 2),), eligibility == "ineligible")

    @pytest.mark.parametrize(
        ("messages", "state"),
        [
            (["Node marked as ineligible for scheduling", MISSED], NodeState.CLOSED),
            (["Node drain strategy set", "Node drain complete", MISSED], NodeState.CLOSED),
            ([MISSED, "Node drain strategy set"], NodeState.SILENT),
            ([MISSED, "Node marked as ineligible for scheduling"], NodeState.SILENT),
            (["Node drain strategy set", "Node drain disabled", OPENED, MISSED, "Node drain set"], NodeState.SILENT),
        ],
    )
    def test_who_drains_a_lost_node_did_not_mean_it_to_go(
        self, world: World, messages: list[str], state: NodeState
    ) -> None:
        self.add(world, "ineligible")
        events = [{"Message": text, "Timestamp": f"2026-01-01T00:00:0{at}Z"} for at, text in enumerate(messages)]
        world.nomad.node_stubs[-1]["Events"] = events[::-1]
        assert look(world).nodes[0].state == state

    def test_of_several_nodes_with_its_name_the_newest_counts(self, world: World) -> None:
        self.add(world, "eligible")
        world.nomad.node_stubs[-1]["CreateIndex"] = 9
        self.add(world, "ineligible")
        world.nomad.node_stubs[-1] |= {"ID": "of before", "CreateIndex": 3}
        assert look(world).nodes[0].state == NodeState.SILENT

    def test_prometheus_remembers_what_nomad_has_forgotten(self, world: World) -> None:
        world.prometheus.answer("node:ineligible", 1, node="n1")
        assert look(world).healthy

    def test_opened_again_it_is_a_fault_whatever_prometheus_remembers(self, world: World) -> None:
        world.prometheus.answer("node:ineligible", 1, node="n1")
        self.add(world, "eligible")
        assert not look(world).healthy

    def test_without_the_right_to_list_nodes_it_is_a_fault(self, world: World) -> None:
        self.add(world, "ineligible")
        world.prometheus.answer("node:ineligible", 1, node="n1")
        world.nomad.failures["nodes"] = Forbidden("no", hint="")
        assert not look(world).healthy


@pytest.mark.parametrize("health", [None, "unknown"])
def test_a_prometheus_that_has_just_begun_says_nothing_of_others(world: World, health: str | None) -> None:
    world.deploy(SMALL)
    targets = [{**target, "health": health} for target in world.prometheus.targets()] if health else []
    targets += [{"labels": {"job": "nomad", "node": "n1"}, "health": health}] if health else []
    world.prometheus.targets = lambda: targets  # type: ignore[method-assign]
    state = look(world)
    assert {(each.note, each.scraping) for each in state.components} == {("", None)}
    assert (state.healthy, state.is_starting, state.scraping) == (True, True, Scraping(0, len(targets)))
    assert {node.state for node in state.nodes} <= {NodeState.UNKNOWN}


def test_a_prometheus_that_finds_no_target_in_time_is_a_fault(world: World) -> None:
    world.deploy(SMALL)
    world.prometheus.targets = list  # type: ignore[method-assign]
    world.clock.sleep(61)
    assert look(world).faults == ("Prometheus scrapes nothing: it has no target",)


def test_a_prometheus_none_of_whose_targets_is_up_is_a_fault(world: World) -> None:
    world.deploy(SMALL)
    target = {"labels": {"job": "shop"}, "health": "down"}
    world.prometheus.targets = lambda: [target]  # type: ignore[method-assign]
    assert look(world).faults == ("Prometheus scrapes nothing: none of 1 targets is up",)


def test_rules_that_cannot_be_evaluated_are_a_fault(world: World) -> None:
    world.deploy(SMALL)
    before = look(world)
    world.prometheus.groups = [{"name": "mine", "rules": [{"name": "A", "query": "up", "health": "err"}]}]
    after = look(world)
    assert before.evaluation
    rules = before.evaluation.rules + 1
    assert (before.healthy, before.evaluation.failing, after.evaluation) == (True, 0, Evaluation(rules, 1))
    assert after.faults == (f"Prometheus cannot evaluate 1 of {rules} rules; `obsctl verify` names them",)
    assert not after.healthy


def test_a_prometheus_that_does_not_answer_is_a_fault_and_all_else_is_told(world: World) -> None:
    world.deploy(SMALL)
    world.prometheus.failures["*"] = Unreachable("Prometheus: no connection", hint="")
    state = look(world)
    assert {each.state for each in state.components} == {"healthy"}
    assert (state.healthy, state.scraping) == (False, None)
    assert state.faults == ("Prometheus does not say what it scrapes: Prometheus: no connection",)


def test_a_stack_without_prometheus_does_not_miss_it(world: World) -> None:
    world.deploy(WITHOUT)
    world.prometheus.failures["*"] = Unreachable("Prometheus: no connection", hint="")
    assert look(world, WITHOUT).healthy


def test_the_version_of_the_job_in_nomad_is_told(world: World) -> None:
    world.deploy(SMALL)
    before = look(world).components[0]
    world.nomad.register_job({**world.nomad.job(before.job_id), "Priority": 77})
    after = look(world).components[0]
    assert (before.job_version, after.job_version, before.version) == (0, 1, after.version)


def mine(world: World) -> str:
    """How the id of what the job's allocation registers begins."""
    return f"_nomad-task-{world.nomad.job_allocations(JOB['ID'])[0]['ID']}-"
