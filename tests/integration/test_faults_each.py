"""Each fault at a job on a real cluster: its effect is seen, its revert too, and twice is the same as once."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from obsctl.clients import jobs
from tests.fault_subject import Subject

pytestmark = pytest.mark.real
Start = Callable[..., Subject]


@pytest.fixture
def start(cluster: Any) -> Iterator[Start]:
    made: list[Subject] = []

    def start_one(fault: str, **options: Any) -> Subject:
        made.append(Subject(cluster, fault, **options))
        return made[-1]

    yield start_one
    for subject in made:
        subject.purge()


@pytest.mark.parametrize("fault", ["kill", "restart"])
def test_a_task_that_ends_is_started_again_where_it_was(start: Start, fault: str) -> None:
    subject = start(fault)
    (before,) = subject.running()
    subject.inject()
    assert subject.revert() == "already"
    subject.until_back()
    (after,) = subject.running()
    assert after["ID"] == before["ID"]
    assert after["TaskStates"]["main"]["Restarts"] == 1


def test_a_stopped_allocation_is_replaced(start: Start) -> None:
    subject = start("stop-alloc", count=2)
    before = {each["ID"] for each in subject.running()}
    subject.inject()
    assert subject.revert() == "already"
    subject.until_back(wanted=2)
    assert len(before & {each["ID"] for each in subject.running()}) == 1


def test_what_is_frozen_goes_on(start: Start) -> None:
    subject = start("freeze")
    (before,) = subject.running()
    subject.inject()
    assert subject.revert() == "reverted"
    subject.until("what the node tells Nomad of it", lambda: subject.revert() == "already")
    subject.until_back()
    (after,) = subject.running()
    assert (after["ID"], after["TaskStates"]["main"]["Restarts"]) == (before["ID"], 0)


def test_a_crash_loop_ends_and_what_nomad_has_given_up_is_placed_at_once(start: Start) -> None:
    """The job's own delay is an hour."""
    subject = start("kill-loop", attempts=2)
    subject.inject()

    def given_up() -> bool:
        subject.look()
        return any(each["ClientStatus"] == "failed" for each in subject.nomad.job_allocations(subject.name))

    subject.until("a failed allocation", given_up)
    assert subject.revert() == "reverted"
    subject.until_back()
    assert subject.revert() == "already"


def test_a_group_is_scaled_to_zero_and_back(start: Start) -> None:
    subject = start("scale-zero", count=2)
    subject.inject()
    assert subject.running() == []
    assert subject.revert() == "reverted"
    subject.until_back(wanted=2)
    assert subject.revert() == "already"
    assert jobs.spec(subject.nomad.job(subject.name)) == jobs.spec(subject.job)


def test_one_instance_of_two_goes_and_comes_back(start: Start) -> None:
    subject = start("scale-down", count=2)
    subject.inject()
    assert len(subject.running()) == 1
    assert subject.revert() == "reverted"
    subject.until_back(wanted=2)
