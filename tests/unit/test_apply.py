"""Making a plan true, on a cluster of fakes that misbehaves on demand."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from obsctl.errors import ApiError, Interrupted, ObsctlError, ServerFailed
from obsctl.model import Event, Json
from obsctl.stack.apply import ApplyFailed, apply
from obsctl.stack.plan import Action, Plan, plan
from obsctl.wait import SYSTEM_CLOCK
from tests.fakes import FakeNomad
from tests.world import DEMO, SECRET, World, config

SMALL = config()
WITH_GRAFANA = config(components={"grafana": {"enabled": True}})
WITH_SECRETS = config(consul={"tokens": {"prometheus": "env:CONSUL"}}, nomad={"tokens": {"warden": "env:NOMAD"}})


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where the test runner ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Hooked(FakeNomad):
    """Calls `before(method, job id)` outside of its own lock, so that the test can wait in there."""

    before = staticmethod(lambda method, job_id: None)

    def register_job(self, job: Json, *, enforce_index: int | None = None) -> str:
        self.before("register", job["ID"])
        return super().register_job(job, enforce_index=enforce_index)

    def job_deployment(self, job_id: str) -> Json | None:
        self.before("deployment", job_id)
        return super().job_deployment(job_id)

    def job_allocations(self, job_id: str) -> list[Json]:
        self.before("allocations", job_id)
        return super().job_allocations(job_id)


def hooked(world: World, before: Any) -> World:
    world.nomad = Hooked(consul=world.consul, clock=world.clock)
    world.nomad.before = before  # type: ignore[method-assign]
    return world


def interrupt() -> None:
    assert threading.current_thread() is not threading.main_thread()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_it_makes_every_change_of_the_plan_in_its_order(world: World) -> None:
    made = world.plan(DEMO)
    assert world.deploy(DEMO) == made.effective
    assert world.plan(DEMO).effective == ()


def test_it_changes_nothing_when_there_is_nothing_to_change(world: World) -> None:
    world.deploy(DEMO)
    world.nomad.calls.clear()
    assert world.deploy(DEMO) == ()
    assert world.registered() == []


def test_content_and_secrets_are_there_before_the_first_job(world: World) -> None:
    there: list[bool] = []
    path = "nomad/jobs/obs-prometheus"

    def before(method: str, job_id: str) -> None:
        if method == "register":
            there.append(bool(world.consul.entries("obsctl/obs/rules/")) and world.nomad.variable(path) is not None)

    hooked(world, before).deploy(WITH_SECRETS)
    assert there == [True] * 4
    assert world.nomad.variable(path).items == {"consul_token": SECRET}  # type: ignore[union-attr]


def test_all_jobs_start_together(world: World) -> None:
    together = threading.Barrier(7)  # raises unless so many threads meet

    def before(method: str, job_id: str) -> None:
        if method == "register":
            together.wait(timeout=10)

    hooked(world, before).deploy(DEMO)


def test_a_job_is_done_when_those_are_that_it_needs(world: World) -> None:
    """Although it is healthy at once, and its neighbour only when its own program has been waited for."""
    slow = threading.Event()

    def before(method: str, job_id: str) -> None:
        if method == "deployment" and job_id == "obs-alert-sink":
            slow.wait(timeout=0.5)

    hooked(world, before).deploy(DEMO)
    ended = {event.subject: number for number, event in enumerate(world.events) if event.state == "ok"}
    assert ended["obs-alert-sink"] < ended["obs-alertmanager"]
    assert ended["obs-response-service"] < ended["obs-hello-service"] < ended["obs-traffic"]


def test_one_that_reads_at_its_start_where_others_are_starts_after_them(world: World) -> None:
    ended: list[set[str]] = []

    def before(method: str, job_id: str) -> None:
        if (method, job_id) == ("register", "obs-grafana"):
            ended.append({event.subject for event in world.events if event.state == "ok"})

    hooked(world, before).deploy(WITH_GRAFANA)
    assert ended == [ended[0] | {"obs-prometheus", "obs-alertmanager"}]


def test_of_an_update_prometheus_is_the_first(world: World) -> None:
    """Or it would remember for minutes that others were down just before it was itself."""
    world.deploy(SMALL)
    world.events.clear()
    before_prometheus: list[str] = []

    def before(method: str, job_id: str) -> None:
        done = {event.subject for event in world.events if event.state == "ok"}
        if method == "register" and "obs-prometheus" not in done:
            before_prometheus.append(job_id)

    world.nomad.__class__ = Hooked
    world.nomad.before = before  # type: ignore[attr-defined]
    world.deploy(config(timing="relaxed"))
    assert before_prometheus == ["obs-prometheus"]


def test_an_update_goes_on_when_that_of_prometheus_fails(world: World) -> None:
    world.deploy(SMALL)
    world.nomad.exits["obs-prometheus"] = "no space"
    with pytest.raises(ApplyFailed, match="not confirmed: obs-prometheus") as caught:
        world.deploy(config(timing="relaxed"))
    assert "obs-alert-sink, obs-warden, obs-alertmanager" in caught.value.message


def test_one_alone_waits_for_nothing_that_stays_as_it_is(world: World) -> None:
    world.deploy(SMALL)
    assert [change.name for change in world.deploy(WITH_GRAFANA) if change.kind == "job"] == ["obs-grafana"]


def test_a_job_that_is_no_longer_wanted_is_stopped_and_has_ended(world: World) -> None:
    world.deploy(DEMO)
    applied = world.deploy(config(timing="fast", driver="raw_exec"))
    stopped = {change.name for change in applied if change.kind == "job" and change.action is Action.STOP}
    assert stopped == {"obs-hello-service", "obs-response-service", "obs-traffic"}
    assert all(world.nomad.job(name)["Stop"] for name in stopped)
    assert world.consul.health("hello-service") == []


def test_a_seed_is_never_overwritten(world: World) -> None:
    world.consul.put("minion_phrases", b'["mine"]')
    world.deploy(DEMO)
    assert world.consul.get("minion_phrases").value == b'["mine"]'  # type: ignore[union-attr]


def test_a_stopped_job_is_started_again(world: World) -> None:
    world.deploy(SMALL)
    world.nomad.stop_job("obs-warden")
    world.deploy(SMALL)
    assert not world.nomad.job("obs-warden")["Stop"]
    assert world.plan(SMALL).effective == ()


def test_a_failed_deployment_is_tried_again_with_a_mark_that_makes_nomad_act(world: World) -> None:
    world.nomad.exits["obs-warden"] = "port taken"
    with pytest.raises(ApplyFailed):
        world.deploy(SMALL)
    version = world.nomad.job("obs-warden")["Version"]
    world.nomad.exits.clear()
    world.deploy(SMALL)
    job = world.nomad.job("obs-warden")
    assert (job["Version"], "obsctl.retry" in job["Meta"]) == (version + 1, True)
    assert world.plan(SMALL).effective == ()


def test_a_deploy_that_was_interrupted_is_waited_for_by_the_next_one(world: World) -> None:
    world.nomad.unplaceable["obs-warden"] = {"warden": {"NodesEvaluated": 1, "ConstraintFiltered": {"no docker": 1}}}
    for _ in range(2):
        with pytest.raises(ApplyFailed, match=r"obs-warden cannot be placed: group warden: no docker"):
            world.deploy(SMALL)
    assert world.nomad.job("obs-warden")["Version"] == 0, "the same job again makes no new version"


def test_a_failure_says_why_and_what_was_and_was_not_changed(world: World) -> None:
    world.nomad.exits["obs-alertmanager"] = "bad configuration"
    with pytest.raises(ApplyFailed) as caught:
        world.deploy(SMALL)
    message = caught.value.message
    assert message.startswith("obs-alertmanager: task obs-alertmanager/alertmanager on node-1 ended with exit code 1;")
    assert "obs-alertmanager: the deployment failed (Failed due to unhealthy allocations)" in message
    assert "alertmanager | bad configuration" in message
    *_, changed, left = message.splitlines()
    assert changed.strip().startswith(
        "changed: nomad/jobs/obs-alert-sink, nomad/jobs/obs-alertmanager, nomad/jobs/obs-warden"
    )
    assert changed.endswith("obs-alert-sink, obs-warden, obs-prometheus")
    assert left.strip() == "not changed, or not confirmed: obs-alertmanager"


@pytest.mark.parametrize(
    ("unplaceable", "text"),
    [
        ({}, "task obs-alertmanager/alertmanager on node-1 ended with exit code 1; its last line: bad configuration"),
        ({"warden": {"NodesEvaluated": 1}}, "cannot be placed: group warden: no node can take it"),
    ],
)
def test_the_line_of_a_failed_job_names_it_once(world: World, unplaceable: Json, text: str) -> None:
    if unplaceable:
        world.nomad.unplaceable["obs-alertmanager"] = unplaceable
    else:
        world.nomad.exits["obs-alertmanager"] = "bad configuration"
    with pytest.raises(ApplyFailed):
        world.deploy(SMALL)
    [event] = [event for event in world.events if event.state == "failed"]
    assert (event.subject, event.text) == ("obs-alertmanager", text)


def test_one_whose_neighbour_failed_says_so_and_names_what_was_the_matter_first(world: World) -> None:
    world.nomad.exits["obs-alert-sink"] = "no space"
    with pytest.raises(ApplyFailed) as caught:
        world.deploy(WITH_GRAFANA)
    first, *more = caught.value.message.splitlines()
    assert first.startswith("obs-alert-sink: task obs-alert-sink/alert-sink on node-1 ended with exit code 1")
    for words in (
        "obs-alertmanager is healthy, but not confirmed: it needs obs-alert-sink",
        "obs-grafana was not started: it needs obs-alert-sink",
    ):
        assert words in [line.strip() for line in more]
    assert caught.value.hint == "nomad job status obs-alert-sink shows more; obsctl deploy tries again"
    assert "obs-grafana" not in world.registered()


def test_rules_that_watch_jobs_are_not_written_when_one_of_these_fails(world: World) -> None:
    world.nomad.exits["obs-traffic"] = "no memory"
    with pytest.raises(ApplyFailed, match="not confirmed: obs-traffic, obsctl/obs/rules/availability"):
        world.deploy(DEMO)
    assert world.consul.get("obsctl/obs/rules/availability") is None


def test_all_failures_are_told_and_the_other_jobs_come_to_their_end(world: World) -> None:
    world.nomad.exits |= {"obs-alertmanager": "no space", "obs-warden": "no memory"}
    with pytest.raises(ApplyFailed, match=r"changed: .*obs-alert-sink") as caught:
        world.deploy(SMALL)
    assert "no space" in caught.value.message
    assert "no memory" in caught.value.message


@pytest.mark.parametrize("name", ["obs-warden", "obsctl/obs/rules/stack", "nomad/jobs/obs-warden"])
def test_what_somebody_else_changed_meanwhile_is_left_to_them(world: World, name: str) -> None:
    desired, observed = world.seen(WITH_SECRETS)
    made = plan(desired, observed)
    world.nomad.register_job({"ID": "obs-warden", "Name": "obs-warden"})
    world.consul.put("obsctl/obs/rules/stack", b"theirs")
    world.nomad.put_variable("nomad/jobs/obs-warden", {"theirs": "1"})
    alone = Plan("obs", tuple(change for change in made.changes if change.name == name))
    with pytest.raises(ApplyFailed, match=rf"{name} was changed by somebody else after the plan was made") as caught:
        apply(alone, desired, observed, world.tools())
    assert "makes a new plan" in caught.value.hint
    assert world.consul.get("obsctl/obs/rules/stack").value == b"theirs"  # type: ignore[union-attr]
    assert world.nomad.variable("nomad/jobs/obs-warden").items == {"theirs": "1"}  # type: ignore[union-attr]
    assert world.nomad.job("obs-warden")["Version"] == 0


def test_when_the_lock_is_lost_no_job_begins(world: World) -> None:
    def check() -> None:
        if world.consul.entries("obsctl/obs/config/"):
            raise ObsctlError("the lock was lost", hint="run it again")

    with pytest.raises(ApplyFailed, match="the lock was lost") as caught:
        world.deploy(SMALL, check=check)
    assert caught.value.hint == "run it again"
    assert world.registered() == []


def test_a_lock_that_is_lost_already_lets_nothing_begin(world: World) -> None:
    def check() -> None:
        raise ObsctlError("the lock was lost", hint="run it again")

    with pytest.raises(ApplyFailed, match=r"^the lock was lost\n  changed: nothing\n"):
        world.deploy(DEMO, check=check)
    assert (world.consul.entries(""), world.nomad.jobs(), world.events) == ([], [], [])


def test_a_server_that_goes_away_is_told_with_the_balance(world: World) -> None:
    world.nomad.failures["register_job"] = ApiError("no answer", hint="is it there?")
    with pytest.raises(ApplyFailed, match=r"(?s)no answer.*changed: .*obsctl/obs/config") as caught:
        world.deploy(SMALL)
    assert caught.value.hint == "is it there?"


@pytest.mark.timeout(30)
def test_ctrl_c_before_all_have_begun_leaves_nobody_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are replaced wait for Prometheus, which here is never begun."""
    world.deploy(SMALL)
    submit = ThreadPoolExecutor.submit

    def interrupted(pool: ThreadPoolExecutor, call: Any, *arguments: Any) -> Any:
        if getattr(arguments[0], "name", "") == "obs-prometheus":
            raise KeyboardInterrupt
        return submit(pool, call, *arguments)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(Interrupted, match="not confirmed: obs-alert-sink"):
        world.deploy(config(timing="relaxed"))


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_a_job_waits_ends_soon_and_says_what_is_done(world: World) -> None:
    pressed = threading.Event()

    def before(method: str, job_id: str) -> None:
        others_done = "obs-prometheus" in {event.subject for event in world.events if event.state == "ok"}
        if method == "deployment" and job_id == "obs-warden" and others_done and not pressed.is_set():
            pressed.set()
            interrupt()

    hooked(world, before)
    world.nomad.unplaceable["obs-warden"] = {"warden": {"NodesEvaluated": 1}}
    began = time.monotonic()
    with pytest.raises(Interrupted) as caught:
        world.deploy(SMALL, clock=SYSTEM_CLOCK)
    assert time.monotonic() - began < 5
    *_, changed, left = caught.value.message.splitlines()
    assert changed.endswith("obs-alert-sink, obs-prometheus, obs-alertmanager")
    assert left.strip() == "not changed, or not confirmed: obs-warden"
    assert "run obsctl deploy to continue" in caught.value.hint


def test_a_job_that_waited_is_not_started_without_the_lock(world: World) -> None:
    """The lock is lost just as that ends which Grafana has waited for."""
    waits_for = {"obs-prometheus", "obs-alertmanager"}
    ended: set[str] = set()
    waiting = threading.Event()

    def note(event: Event) -> None:
        ended.update({event.subject} if event.state == "ok" else ())
        if (event.subject, event.state) == ("obs-grafana", "start"):
            waiting.set()

    def before(method: str, job_id: str) -> None:
        if (method, job_id) == ("deployment", "obs-alertmanager"):
            waiting.wait(timeout=10)

    def check() -> None:
        if waits_for <= ended:
            raise ObsctlError("the lock was lost", hint="deploy again")

    with pytest.raises(ApplyFailed, match="the lock was lost"):
        hooked(world, before).deploy(WITH_GRAFANA, emit=note, check=check)
    assert "obs-grafana" not in world.registered()


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_a_job_stops_ends_soon_and_begins_nothing_more(world: World) -> None:
    pressed = threading.Event()

    def before(method: str, job_id: str) -> None:
        if method == "allocations" and job_id == "obs-traffic" and world.nomad.job(job_id)["Stop"]:
            world.nomad.report_allocations(job_id, ClientStatus="running")  # they do not end
            if not pressed.is_set():
                pressed.set()
                interrupt()

    hooked(world, before)
    world.deploy(DEMO)
    without = config(timing="fast", driver="raw_exec", demo={"enabled": True, "traffic": {"enabled": False}})
    began = time.monotonic()
    with pytest.raises(Interrupted, match="not confirmed: obs-traffic"):
        world.deploy(without, clock=SYSTEM_CLOCK)
    assert time.monotonic() - began < 5


def test_a_stop_that_does_not_end_says_so(world: World) -> None:
    def before(method: str, job_id: str) -> None:
        if method == "allocations" and world.nomad.job(job_id)["Stop"]:
            world.nomad.report_allocations(job_id, ClientStatus="running")

    hooked(world, before)
    world.deploy(DEMO)
    with pytest.raises(ApplyFailed, match="the allocations of obs-traffic did not end within 60 s"):
        world.deploy(config(timing="fast", driver="raw_exec"))


def test_a_server_that_fails_while_a_job_stops_may_come_back(world: World) -> None:
    failed: list[str] = []

    def before(method: str, job_id: str) -> None:
        if method == "allocations" and world.nomad.job(job_id)["Stop"] and job_id not in failed:
            failed.append(job_id)
            raise ServerFailed("No cluster leader", hint="")

    hooked(world, before).deploy(DEMO)
    world.deploy(config(timing="fast", driver="raw_exec"))
    assert "obs-traffic" in failed


def test_no_secret_is_in_what_it_says(world: World) -> None:
    world.nomad.failures["put_variable"] = ApiError("no answer", hint="is it there?")
    with pytest.raises(ApplyFailed) as caught:
        world.deploy(WITH_SECRETS)
    world.nomad.failures.clear()
    world.deploy(WITH_SECRETS)
    assert SECRET not in repr(world.events) + repr(caught.value) + caught.value.message + caught.value.hint
    assert SECRET not in str(world.nomad.called("register_job")) + str(world.consul.entries(""))


def test_a_job_to_be_stopped_that_somebody_changed_meanwhile_runs_on(world: World) -> None:
    world.deploy(DEMO)
    desired, observed = world.seen(SMALL)
    made = plan(desired, observed)
    world.nomad.register_job({**world.nomad.job("obs-traffic"), "Priority": 10})
    with pytest.raises(ApplyFailed, match="obs-traffic was changed by somebody else"):
        apply(made, desired, observed, world.tools())
    assert world.nomad.job("obs-traffic")["Stop"] is False


def test_who_reads_a_file_that_alone_changed_is_looked_at_and_a_job_that_changes_too_is_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, str]] = []

    def readers(nomad: FakeNomad, job_id: str, key: str) -> None:
        read.append((job_id, key))

    monkeypatch.setattr("obsctl.stack.apply.readers_of_key", readers)
    world.deploy(SMALL)
    assert read == [], "what is new has no readers yet"
    for path in ("alertmanager.yml", "prometheus.yml"):
        world.consul.put(f"obsctl/obs/config/{path}", b"changed by hand")
    world.deploy(config(components={"prometheus": {"retention": "99d"}}))
    assert read == [("obs-alertmanager", "obsctl/obs/config/alertmanager.yml")]


def test_who_reads_a_secret_that_alone_changed_is_looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, str, list[str]]] = []

    def readers(nomad: FakeNomad, job_id: str, path: str, items: list[str]) -> None:
        read.append((job_id, path, items))

    monkeypatch.setattr("obsctl.stack.apply.readers_of_items", readers)
    world.deploy(WITH_SECRETS)
    assert read == [], "what is new has no readers yet"
    path = "nomad/jobs/obs-warden"
    before = world.nomad.variable(path)
    assert before
    world.nomad.put_variable(path, {**before.items, "nomad_token": "the old one"})
    world.deploy(WITH_SECRETS)
    assert read == [("obs-warden", path, ["nomad_token"])]
