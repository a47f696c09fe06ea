"""The gate after a job: what it waits for, when it gives up, and what it says then."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from obsctl.errors import ApiError, Forbidden, NotFound, ObsctlError, ServerFailed, TimedOut, Unreachable
from obsctl.model import Json
from obsctl.stack.causes import UNREADABLE
from obsctl.stack.health import PLACEMENT_GRACE, Unhealthy, wait_healthy
from obsctl.stack.why import REGISTERED, Watch, why
from tests.world import World

JOB = {
    "ID": "obs-web",
    "Name": "obs-web",
    "Type": "service",
    "Meta": {},
    "TaskGroups": [{"Name": "web", "Count": 1, "Tasks": [{"Name": "web"}], "Services": [{"Name": "web"}]}],
}
WAITING = {"web": {"NodesEvaluated": 1}}  # not placed; nothing is said before PLACEMENT_GRACE


@pytest.fixture
def world() -> World:
    return World()


def gate(world: World, *, timeout: float = 60, check: Callable[[], None] = lambda: None, job: Json = JOB) -> None:
    eval_id = world.nomad.register_job(job)
    wait_healthy(world.tools(timeout=timeout, check=check), "obs-web", eval_id)


def instance(world: World, but: str = "") -> str:
    return next(entry["Service"]["ID"] for entry in world.consul.health("web") if entry["Service"]["ID"] != but)


def test_a_healthy_job_passes_at_once(world: World) -> None:
    gate(world)
    assert world.clock.monotonic() == 0


def test_it_waits_for_the_check_in_consul(world: World) -> None:
    world.nomad.register_job(JOB)
    name = instance(world)
    world.consul.register("web", instance=name, status="critical")
    world.clock.after(7, lambda: world.consul.register("web", instance=name))
    gate(world)
    assert world.clock.monotonic() == pytest.approx(7, abs=0.3)


def test_a_service_of_that_name_that_is_not_ours_says_nothing(world: World) -> None:
    world.consul.register("web", instance="of-another-stack", status="critical")
    gate(world)


def test_another_ones_healthy_service_does_not_stand_in_for_ours(world: World) -> None:
    world.consul.register("web", instance="of-another-stack")
    world.nomad.register_job(JOB)
    world.consul.deregister(instance(world, but="of-another-stack"))
    with pytest.raises(Unhealthy, match="service web is not registered in Consul"):
        gate(world)


def test_a_failed_task_is_told_with_its_events_and_last_words(world: World) -> None:
    world.nomad.exits["obs-web"] = "\n".join(f"line {number}" for number in range(20))
    with pytest.raises(Unhealthy) as caught:
        gate(world)
    cause, first, allocation, *rest = caught.value.message.splitlines()
    assert cause == "obs-web: task web/web on node-1 ended with exit code 1; its last line: line 19"
    assert first.strip() == "obs-web: the deployment failed (Failed due to unhealthy allocations)"
    assert allocation.strip().endswith("on node-1: failed")
    assert "    task web: Terminated: Exit Code: 1" in rest
    assert [line.strip() for line in rest[-8:]] == [f"web | line {number}" for number in range(12, 20)]
    assert "nomad job status obs-web" in caught.value.hint


def test_a_log_that_cannot_be_read_does_not_hide_the_failure(world: World) -> None:
    world.nomad.exits["obs-web"] = "gone"
    world.nomad.failures["task_logs"] = NotFound("no such log", hint="")
    with pytest.raises(Unhealthy, match=r"(?s)the deployment failed.*its log cannot be read \(no such log\)"):
        gate(world)


def test_what_cannot_be_placed_gets_some_grace_and_then_says_why(world: World) -> None:
    world.nomad.unplaceable["obs-web"] = {"web": {"NodesEvaluated": 1, "DimensionExhausted": {"memory": 1}}}
    with pytest.raises(Unhealthy, match=r"cannot be placed: group web: memory exhausted on 1 node\n.*no allocation"):
        gate(world)
    assert PLACEMENT_GRACE < world.clock.monotonic() < PLACEMENT_GRACE + 1


@pytest.mark.parametrize(("blocked", "said"), [(True, "distinct_hosts"), (False, "did not become healthy within 30 s")])
def test_one_of_several_that_no_node_can_take_is_enough_to_fail(world: World, blocked: bool, said: str) -> None:
    """While Nomad waits for room; once there was room, what it said before does not matter."""
    job = {**JOB, "TaskGroups": [{**JOB["TaskGroups"][0], "Count": 3}]}
    two = [
        {"ID": name, "JobVersion": 0, "ClientStatus": "running", "CreateIndex": 1, "TaskStates": {}} for name in "ab"
    ]
    world.nomad.unplaceable["obs-web"] = {"web": {"NodesEvaluated": 1, "ConstraintFiltered": {"distinct_hosts": 1}}}
    world.nomad.job_allocations = lambda job_id: two  # type: ignore[method-assign]
    waiting = [{"Status": "blocked"}] if blocked else []
    world.nomad.job_evaluations = lambda job_id: waiting  # type: ignore[method-assign]
    with pytest.raises(Unhealthy, match=said):
        gate(world, job=job, timeout=30)


def test_the_deadline_is_told_with_what_was_awaited(world: World) -> None:
    world.nomad.unplaceable["obs-web"] = WAITING
    with pytest.raises(Unhealthy, match="obs-web did not become healthy within 10 s"):
        gate(world, timeout=10)


def test_a_task_that_failed_for_good_ends_the_wait_before_nomad_gives_up(world: World) -> None:
    world.nomad.unplaceable["obs-web"] = WAITING
    failed = {"ID": "a1b2c3d4-0", "JobVersion": 0, "ClientStatus": "failed", "CreateIndex": 9}
    failed |= {"DeploymentStatus": {"Healthy": False}, "TaskStates": None}
    world.nomad.job_allocations = lambda job_id: [failed]  # type: ignore[method-assign]
    with pytest.raises(Unhealthy, match=r"obs-web: its task failed on \?\n    allocation a1b2c3d4 on \?: failed"):
        gate(world)
    assert world.clock.monotonic() == 0


def test_the_deployment_of_an_earlier_version_does_not_count(world: World) -> None:
    gate(world)
    earlier = world.nomad.job_deployment("obs-web")
    world.nomad.job_deployment = lambda job_id: earlier  # type: ignore[method-assign]
    with pytest.raises(Unhealthy, match="did not become healthy"):
        gate(world, timeout=10, job={**JOB, "Priority": 70})


def test_what_check_raises_ends_the_wait_unchanged(world: World) -> None:
    lost = ObsctlError("the lock was lost", hint="run it again")

    def check() -> None:
        raise lost

    with pytest.raises(ObsctlError) as caught:
        gate(world, check=check)
    assert caught.value is lost


def test_it_tells_how_many_of_several_are_healthy(world: World) -> None:
    three = {**JOB, "TaskGroups": [{**JOB["TaskGroups"][0], "Count": 3}]}  # type: ignore[dict-item]
    eval_id = world.nomad.register_job(three)
    world.nomad.report_deployment("obs-web", "running")
    allocations = world.nomad.job_allocations("obs-web")
    world.nomad.job_allocations = lambda job_id: allocations  # type: ignore[method-assign]
    for number, one in enumerate(allocations[:2]):
        world.clock.after(10 * (number + 1), partial(one.update, DeploymentStatus={"Healthy": True}))
    world.clock.after(30, lambda: world.nomad.report_deployment("obs-web", "successful"))
    wait_healthy(world.tools(), "obs-web", eval_id)
    assert [event.text for event in world.events] == ["1 of 3 healthy", "2 of 3 healthy"]


@pytest.mark.parametrize("kind", [ServerFailed, TimedOut, Unreachable])
def test_a_server_that_fails_for_a_moment_does_not_end_the_wait(world: World, kind: type[ApiError]) -> None:
    """Nomad goes on, as it does while its servers elect a leader."""
    world.nomad.failures["job_deployment"] = world.consul.failures["health"] = kind("No cluster leader", hint="")
    world.clock.after(20, world.nomad.failures.clear)
    world.clock.after(40, world.consul.failures.clear)
    gate(world)
    assert world.clock.monotonic() == pytest.approx(40, abs=0.3)


def test_one_that_does_not_come_back_is_told_at_the_deadline(world: World) -> None:
    gone = Unreachable("no connection", hint="is it there?")
    world.nomad.failures["job_deployment"] = gone
    with pytest.raises(Unreachable) as caught:
        gate(world, timeout=30)
    assert (caught.value, world.clock.monotonic()) == (gone, pytest.approx(30, abs=0.3))


def test_a_refusal_ends_it_at_once(world: World) -> None:
    world.nomad.failures["job_deployment"] = Forbidden("no", hint="")
    with pytest.raises(Forbidden):
        gate(world)
    assert world.clock.monotonic() == 0


def test_what_cannot_be_read_does_not_hide_what_was_awaited(world: World) -> None:
    eval_id = world.nomad.register_job(JOB)
    world.nomad.report_deployment("obs-web", "failed")
    world.nomad.failures["job_allocations"] = ServerFailed("No cluster leader", hint="")
    with pytest.raises(
        Unhealthy, match=r"the deployment failed.*\n    its allocations cannot be read \(No cluster leader"
    ):
        wait_healthy(world.tools(), "obs-web", eval_id)


class TestServices:
    def test_every_service_of_the_job_must_pass(self, world: World) -> None:
        more = with_services("web", "web-metrics")
        world.nomad.register_job(more)
        [extra] = world.consul.health("web-metrics")
        world.consul.register("web-metrics", instance=extra["Service"]["ID"], status="critical")
        with pytest.raises(Unhealthy, match="did not pass its Consul checks within 60 s"):
            gate(world, job=more)

    @pytest.mark.parametrize("name", ["${NOMAD_GROUP_NAME}", "web-${node.unique.name}"])
    def test_consul_is_asked_for_the_names_that_nomad_registers(self, world: World, name: str) -> None:
        seen = []
        usual = world.consul.health
        world.consul.health = lambda service: seen.append(service) or usual(service)  # type: ignore[method-assign,func-returns-value]
        group = {**JOB["TaskGroups"][0], "Services": [{"Name": "web"}, {"Name": name}]}  # type: ignore[dict-item]
        gate(world, job={**JOB, "TaskGroups": [group]})
        assert set(seen) == {"web"}

    def test_every_allocation_must_be_registered(self, world: World) -> None:
        three = {**JOB, "TaskGroups": [{**JOB["TaskGroups"][0], "Count": 3}]}  # type: ignore[dict-item]
        world.nomad.register_job(three)
        world.consul.deregister(instance(world))
        with pytest.raises(Unhealthy, match="service web is not registered in Consul"):
            gate(world, job=three)

    @pytest.mark.parametrize("services", [[], [{"Name": "web", "Provider": "nomad"}]])
    def test_a_job_that_is_not_in_consul_is_not_waited_for_there(self, world: World, services: list[Json]) -> None:
        world.consul.failures["health"] = Unreachable("not to be asked", hint="")
        gate(world, job={**JOB, "TaskGroups": [{**JOB["TaskGroups"][0], "Services": services}]})  # type: ignore[dict-item]


@pytest.fixture(params=["with deployments", "without deployments"])
def nomad_of_some_age(request: pytest.FixtureRequest, world: World) -> World:
    """System jobs have deployments since Nomad 1.11."""
    if request.param == "without deployments":
        world.nomad.deploys = {"service"}
    return world


SYSTEM = {**JOB, "Type": "system"}


class TestSystemJobs:
    def test_one_that_runs_passes_at_once(self, nomad_of_some_age: World) -> None:
        gate(nomad_of_some_age, job=SYSTEM)
        assert nomad_of_some_age.clock.monotonic() == 0

    def test_so_does_its_next_version(self, nomad_of_some_age: World) -> None:
        gate(nomad_of_some_age, job=SYSTEM)
        gate(nomad_of_some_age, job={**SYSTEM, "Priority": 70})

    def test_its_check_in_consul_is_waited_for(self, nomad_of_some_age: World) -> None:
        world = nomad_of_some_age
        world.nomad.register_job(SYSTEM)
        world.consul.register("web", instance=instance(world), status="critical")
        with pytest.raises(Unhealthy, match="did not pass its Consul checks within 60 s"):
            gate(world, job=SYSTEM)

    def test_one_of_several_that_ends_while_checks_are_awaited_is_not_forgotten(self, nomad_of_some_age: World) -> None:
        world = nomad_of_some_age
        world.nomad.register_job(SYSTEM)
        running = world.nomad.job_allocations("obs-web")
        other = {**running[0], "ID": "other", "NodeName": "node-2"}
        world.nomad.job_allocations = lambda job_id: [*running, other]  # type: ignore[method-assign]
        world.consul.register("web", instance=instance(world), status="critical")
        world.clock.after(5, lambda: other.update(ClientStatus="failed"))
        world.clock.after(9, lambda: world.consul.register("web", instance=instance(world)))
        with pytest.raises(Unhealthy, match=r"(?s)obs-web.*other on node-2: failed"):
            gate(world, job=SYSTEM)

    def test_a_task_that_exits_is_told_with_its_last_words(self, nomad_of_some_age: World) -> None:
        nomad_of_some_age.nomad.exits["obs-web"] = "port taken"
        with pytest.raises(Unhealthy, match=r"(?s)obs-web: task web/web on node-1 ended.*web \| port taken"):
            gate(nomad_of_some_age, job=SYSTEM)
        assert nomad_of_some_age.clock.monotonic() == 0

    def test_where_no_node_takes_it_the_success_of_its_deployment_counts_for_nothing(
        self, nomad_of_some_age: World
    ) -> None:
        world = nomad_of_some_age
        world.nomad.unplaceable["obs-web"] = {"web": {"NodesEvaluated": 1, "ConstraintFiltered": {"no driver": 1}}}
        with pytest.raises(Unhealthy, match=r"cannot be placed: group web: no driver"):
            gate(world, job=SYSTEM)
        assert PLACEMENT_GRACE < world.clock.monotonic() < PLACEMENT_GRACE + 1

    def test_where_there_is_no_node_at_all_nomad_gives_no_reason(self, nomad_of_some_age: World) -> None:
        nomad_of_some_age.nomad.unplaceable["obs-web"] = {}
        with pytest.raises(Unhealthy, match="cannot be placed: no node is eligible in the job's datacenters"):
            gate(nomad_of_some_age, job=SYSTEM)

    def test_the_words_of_a_task_that_failed_are_not_lost_when_nomad_starts_the_next(self, world: World) -> None:
        world.nomad.exits["obs-web"] = "port taken"
        world.nomad.register_job(SYSTEM)
        failed = world.nomad.job_allocations("obs-web")[0]
        fresh = {**failed, "ID": "new", "ClientStatus": "pending", "CreateIndex": failed["CreateIndex"] + 9}
        world.nomad.job_allocations = lambda job_id: [fresh, failed]  # type: ignore[method-assign]
        with pytest.raises(Unhealthy, match="port taken"):
            gate(world, job=SYSTEM)

    def test_one_node_that_has_no_room_is_enough_to_fail(self, world: World) -> None:
        eval_id = world.nomad.register_job(SYSTEM)
        full = {
            "Status": "complete",
            "FailedTGAllocs": {"web": {"NodesEvaluated": 2, "DimensionExhausted": {"cpu": 1}}},
        }
        world.nomad.evaluation = lambda found: {"ID": eval_id, **full}  # type: ignore[method-assign]
        world.nomad.job_evaluations = lambda job_id: [{"Status": "blocked"}, full]  # type: ignore[method-assign]
        with pytest.raises(Unhealthy, match=r"cannot be placed: group web: cpu exhausted on 1 node"):
            gate(world, job=SYSTEM)

    @pytest.mark.parametrize(("eligibility", "waits"), [("eligible", True), ("ineligible", False)])
    def test_the_old_version_on_another_node_is_waited_for_where_nomad_replaces_it(
        self, nomad_of_some_age: World, eligibility: str, waits: bool
    ) -> None:
        world = nomad_of_some_age
        gate(world, job=SYSTEM)
        old = {**world.nomad.job_allocations("obs-web")[0], "NodeID": "other"}
        world.nomad.register_job({**SYSTEM, "Priority": 70})
        both = [*world.nomad.job_allocations("obs-web")[:1], old]
        world.nomad.job_allocations = lambda job_id: both  # type: ignore[method-assign]
        other = {"ID": "other", "Status": "ready", "SchedulingEligibility": eligibility}
        world.nomad.nodes = lambda: [other]  # type: ignore[method-assign]
        if waits:
            world.clock.after(20, lambda: both.remove(old))
        gate(world, job={**SYSTEM, "Priority": 70})
        assert world.clock.monotonic() == pytest.approx(20 if waits else 0, abs=0.3)


def with_services(*names: str) -> Json:
    return {**JOB, "TaskGroups": [{**JOB["TaskGroups"][0], "Services": [{"Name": name} for name in names]}]}  # type: ignore[dict-item]


def waiting_for(world: World, need: str) -> None:
    """A job whose task waits in a template."""
    world.nomad.register_job(JOB)
    world.nomad.report_deployment("obs-web", "running")
    blocked = {"Type": "Template", "DisplayMessage": f"Missing: {need}", "Time": 0}
    states = {"web": {"State": "pending", "Events": [blocked]}}
    world.nomad.report_allocations("obs-web", ClientStatus="pending", TaskStates=states)


def runs_unregistered(world: World, deployment: str, job: Json = JOB, **tasks: str) -> None:
    """A job whose tasks are in these states, and whose services Consul does not know."""
    world.nomad.register_job(job)
    world.nomad.report_deployment("obs-web", deployment)
    states = {task: {"State": state, "Events": []} for task, state in (tasks or {"web": "running"}).items()}
    world.nomad.report_allocations("obs-web", ClientStatus="running", TaskStates=states)
    for entry in world.consul.health("web"):
        world.consul.deregister(entry["Service"]["ID"])


def starts(world: World) -> None:
    world.nomad.report_deployment("obs-web", "successful")
    world.nomad.report_allocations("obs-web", ClientStatus="running", TaskStates={})
    [allocation] = world.nomad.job_allocations("obs-web")
    world.consul.register("web", instance=f"_nomad-task-{allocation['ID']}-group-web-web-http")


class TestTemplatesThatWait:
    def test_a_key_that_nobody_made_ends_the_wait_at_once(self, world: World) -> None:
        waiting_for(world, "kv.block(shop/key)")
        with pytest.raises(Unhealthy, match="waits in a template for Consul's key shop/key, which does not exist"):
            gate(world)
        assert world.clock.monotonic() == 0

    def test_a_key_that_an_alertmanager_waits_with_is_not_missing(self, world: World) -> None:
        waiting_for(world, "kv.block(obsctl/obs/wait/alertmanager-cluster)")
        world.clock.after(40, lambda: starts(world))
        gate(world)

    def test_a_key_that_may_not_be_read_ends_it_after_a_while(self, world: World) -> None:
        world.consul.put("shop/key", b"")
        waiting_for(world, "kv.block(shop/key)")
        with pytest.raises(Unhealthy, match="it seems that its token may not read it"):
            gate(world)
        assert world.clock.monotonic() == pytest.approx(UNREADABLE, abs=0.3)

    def test_no_answer_about_a_service_ends_it_after_a_while(self, world: World) -> None:
        waiting_for(world, "health.service(shop@elsewhere|passing)")
        with pytest.raises(Unhealthy, match="the service shop@elsewhere, about which Consul gives it no answer"):
            gate(world)
        assert world.clock.monotonic() == pytest.approx(UNREADABLE, abs=0.3)

    def test_without_the_right_to_look_nothing_is_certain(self, world: World) -> None:
        waiting_for(world, "kv.block(shop/key)")
        world.consul.failures["get"] = Forbidden("no", hint="")
        world.clock.after(45, lambda: starts(world))
        gate(world)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("missing drivers", r"missing drivers docker, exec \(1 node\)"),
        ("missing compatible host volumes", r"missing compatible host volumes web-data \(1 node\)"),
    ],
)
def test_what_nodes_lack_is_named(world: World, reason: str, words: str) -> None:
    """Nomad leaves the names out."""
    tasks = [{"Name": "web", "Driver": "exec"}, {"Name": "side", "Driver": "docker"}]
    volumes = {"data": {"Type": "host", "Source": "web-data"}, "other": {"Type": "csi", "Source": "shared"}}
    job = {**JOB, "TaskGroups": [{**JOB["TaskGroups"][0], "Tasks": tasks, "Volumes": volumes}]}  # type: ignore[dict-item]
    world.nomad.unplaceable["obs-web"] = {"web": {"NodesEvaluated": 1, "ConstraintFiltered": {reason: 1}}}
    with pytest.raises(Unhealthy, match=words):
        gate(world, job=job)


class TestServicesThatAreNotRegistered:
    @pytest.mark.parametrize("deployment", ["running", "successful"])
    def test_what_runs_and_is_not_in_consul_ends_the_wait_after_a_while(self, world: World, deployment: str) -> None:
        """Nomad registers it at once, and tells nobody that Consul refused it."""
        runs_unregistered(world, deployment)
        with pytest.raises(Unhealthy, match="runs, but its service web is not registered in Consul"):
            gate(world)
        assert world.clock.monotonic() == pytest.approx(REGISTERED, abs=0.3)

    def test_a_task_that_has_not_begun_may_register_later(self, world: World) -> None:
        runs_unregistered(world, "running", init="running", web="pending")
        world.clock.after(45, lambda: starts(world))
        gate(world)
        assert world.clock.monotonic() == pytest.approx(45, abs=0.3)

    def test_a_name_that_the_node_completes_is_not_missed(self, world: World) -> None:
        group = {**JOB["TaskGroups"][0], "Services": [{"Name": "web-${node.unique.name}"}]}  # type: ignore[dict-item]
        job = {**JOB, "TaskGroups": [group]}
        runs_unregistered(world, "running", job)
        world.clock.after(45, lambda: world.nomad.report_deployment("obs-web", "failed"))
        with pytest.raises(Unhealthy, match="the deployment failed"):
            gate(world, job=job)


def crashed_once(world: World, log: str) -> None:
    world.nomad.exits["obs-web"] = log
    world.nomad.register_job(JOB)
    world.nomad.report_deployment("obs-web", "running")
    world.nomad.report_allocations("obs-web", ClientStatus="running")


class TestWhatHasCrashed:
    def test_it_is_looked_at_once_a_second_and_other_jobs_only_when_its_port_is_taken(self, world: World) -> None:
        crashed_once(world, "bye")
        watch = Watch(world.nomad, world.consul, world.nomad.job("obs-web"), world.clock)
        for _ in range(41):  # ten seconds of a wait
            watch.cause(world.nomad.job_allocations("obs-web"))
            world.clock.sleep(0.25)
        assert (len(world.nomad.called("task_logs")), world.nomad.called("allocations")) == (2 * 11, [])

    @pytest.mark.parametrize(("node", "by"), [("", "by the job shop"), ("another", "by a program of no other job")])
    def test_a_port_is_taken_by_a_job_of_the_same_node(self, world: World, node: str, by: str) -> None:
        crashed_once(world, "listen tcp :9090: bind: address already in use")
        [own] = world.nomad.job_allocations("obs-web")
        held = {"AllocatedResources": {"Shared": {"Ports": [{"Value": 9090}]}}}
        shop = {**own, "ID": "shop", "JobID": "shop", "NodeID": node or own["NodeID"], **held}
        world.nomad.allocations = lambda: [shop]  # type: ignore[method-assign]
        said = why(world.nomad, world.consul, world.nomad.job("obs-web"))
        assert said
        assert f"port 9090 is taken {by}" in said.sentence
