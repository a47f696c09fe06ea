"""The gate after a file: what it waits for, whom it blames, and what it says then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from obsctl.errors import Interrupted
from obsctl.model import Json
from obsctl.stack.health import Unhealthy
from obsctl.stack.reload import NOTICED, Readers, readers_of_items, readers_of_key, wait_reloaded
from tests.world import World

KEY = "obsctl/obs/config/web.yml"
SECOND = 1_000_000_000
PATIENCE = 4


def job(change_mode: str = "restart", text: str = f'{{{{ key "{KEY}" }}}}') -> Json:
    task = {"Name": "web", "Templates": [{"EmbeddedTmpl": text, "ChangeMode": change_mode}]}
    service = {"Name": "web", "Checks": [{"Interval": 2 * SECOND, "Timeout": 2 * SECOND}]}
    group = {"Name": "web", "Count": 1, "Tasks": [task, {"Name": "other"}], "Services": [service]}
    return {"ID": "obs-web", "Name": "obs-web", "Type": "service", "Meta": {}, "TaskGroups": [group]}


class Watched:
    """A job with one allocation, whose task does what a test has it do while the gate waits."""

    def __init__(self, job: Json) -> None:
        self.world = World()
        self.world.nomad.register_job(job)
        [self.alloc] = self.world.nomad.job_allocations("obs-web")
        self.alloc["TaskStates"] = {"web": {"State": "running", "Events": []}}
        self.event("Started")
        self.world.nomad.job_allocations = lambda job_id: [self.alloc]  # type: ignore[method-assign]

    @property
    def task(self) -> dict[str, Any]:
        state: dict[str, Any] = self.alloc["TaskStates"]["web"]
        return state

    def event(self, kind: str, state: str = "running") -> None:
        at = int(self.world.clock.now() * SECOND)
        self.task["Events"].append({"Type": kind, "Time": at, "DisplayMessage": ""})
        self.task["State"] = state

    def after(self, seconds: float, kind: str, state: str = "running") -> None:
        self.world.clock.after(seconds, lambda: self.event(kind, state))

    def read(self) -> Readers:
        found = readers_of_key(self.world.nomad, "obs-web", KEY)
        self.world.clock.sleep(1)
        return found

    def wait(self, found: Readers, *, timeout: float = 100, check: Callable[[], None] = lambda: None) -> float:
        """Seconds that it waited."""
        world, begun = self.world, self.world.clock.monotonic()
        wait_reloaded(world.tools(timeout=timeout, check=check), found, "config/web.yml")
        return world.clock.monotonic() - begun


@pytest.fixture
def restarted() -> Watched:
    return Watched(job())


@pytest.mark.parametrize(
    ("change_mode", "told"), [("restart", {"web": "Restart Signaled"}), ("signal", {"web": "Signaling"})]
)
def test_a_task_that_is_told_of_a_change_reads_it(change_mode: str, told: dict[str, str]) -> None:
    assert Watched(job(change_mode)).read().tasks == told


@pytest.mark.parametrize("other", [job("noop"), job(text='{{ key "obsctl/obs/config/web.yml.other" }}')])
def test_one_that_sees_to_it_itself_or_reads_something_else_does_not(other: Json) -> None:
    assert Watched(other).read().tasks == {}


PATH = "nomad/jobs/obs-web"


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ('{{ with nomadVar "nomad/jobs/obs-web" }}TOKEN={{ .token }}{{ end }}', True),
        ('{{ with nomadVar "nomad/jobs/obs-web" }}{{ index . "token" }}{{ end }}', True),
        ('{{ with nomadVar "nomad/jobs/obs-web" }}TOKEN={{ .token_of_another }}{{ end }}', False),
        ('{{ with nomadVar "nomad/jobs/obs-web" }}KEY={{ .key }}{{ end }}', False),
        ('{{ with nomadVar "nomad/jobs/obs-other" }}TOKEN={{ .token }}{{ end }}', False),
    ],
)
def test_only_those_that_read_an_item_that_changes_are_told(text: str, reads: bool) -> None:
    """Nomad restarts no task whose file stays as it is."""
    nomad = Watched(job(text=text)).world.nomad
    assert bool(readers_of_items(nomad, "obs-web", PATH, ["token", "other"]).tasks) == reads
    assert readers_of_items(Watched(job("noop", text)).world.nomad, "obs-web", PATH, ["token"]).tasks == {}


def test_one_that_is_restarted_is_well_after_its_new_start_and_a_check_of_it(restarted: Watched) -> None:
    found = restarted.read()
    restarted.after(7, "Restart Signaled")
    restarted.after(9, "Restarting", "pending")
    restarted.after(12, "Started")
    assert restarted.wait(found) == pytest.approx(12 + PATIENCE, abs=0.6)


def test_one_that_is_signalled_goes_on() -> None:
    watched = Watched(job("signal"))
    found = watched.read()
    watched.after(7, "Signaling")
    assert watched.wait(found) == pytest.approx(7 + PATIENCE, abs=0.6)


def test_a_check_that_fails_meanwhile_begins_the_wait_anew(restarted: Watched) -> None:
    found, world = restarted.read(), restarted.world
    restarted.after(5, "Restart Signaled")
    restarted.after(5, "Started")
    name = world.consul.health("web")[0]["Service"]["ID"]
    world.clock.after(7, lambda: world.consul.register("web", instance=name, status="critical"))
    world.clock.after(20, lambda: world.consul.register("web", instance=name))
    assert restarted.wait(found) == pytest.approx(20 + PATIENCE, abs=0.6)


def test_one_that_is_never_told_is_named(restarted: Watched) -> None:
    begun = restarted.world.clock.monotonic()
    with pytest.raises(Unhealthy, match=r"obs-web did not read the new config/web\.yml within 60 s"):
        restarted.wait(restarted.read())
    assert restarted.world.clock.monotonic() - begun == pytest.approx(NOTICED + 1, abs=0.6)


def test_one_that_ends_again_and_again_does_not_run_with_it(restarted: Watched) -> None:
    found = restarted.read()
    restarted.after(5, "Restart Signaled")
    for seconds in (6, 8, 10):  # the first is that of the change
        restarted.after(seconds, "Restarting", "pending")
        restarted.after(seconds + 1, "Started")
    with pytest.raises(Unhealthy, match=r"obs-web does not run with the new config/web\.yml") as caught:
        restarted.wait(found)
    assert "deploy again" in caught.value.hint


def test_one_crash_is_forgiven(restarted: Watched) -> None:
    found = restarted.read()
    restarted.after(5, "Restart Signaled")
    for seconds in (6, 8):
        restarted.after(seconds, "Restarting", "pending")
        restarted.after(seconds + 1, "Started")
    assert restarted.wait(found) == pytest.approx(9 + PATIENCE, abs=0.6)


def test_one_that_fails_for_good_does_not_run_with_it() -> None:
    watched = Watched(job("signal"))
    found = watched.read()

    def fail() -> None:
        watched.event("Not Restarting", "dead")
        watched.alloc["ClientStatus"] = "failed"

    watched.world.clock.after(5, fail)
    with pytest.raises(Unhealthy, match="does not run with the new"):
        watched.wait(found)


def test_one_that_failed_already_is_not_blamed_and_what_comes_in_its_place_is_waited_for(restarted: Watched) -> None:
    restarted.event("Restarting", "pending")
    found = restarted.read()
    for seconds in (2, 4, 6):
        restarted.after(seconds, "Restarting", "pending")
        restarted.after(seconds + 1, "Started")
    assert restarted.wait(found) == pytest.approx(7 + PATIENCE, abs=0.6)


def test_the_wait_ends_early_when_the_caller_says_so(restarted: Watched) -> None:
    def check() -> None:
        raise Interrupted("interrupted", hint="")

    with pytest.raises(Interrupted):
        restarted.wait(restarted.read(), check=check)
