"""Taking over a job that nobody marked: the plan, what is refused, and that deploy names the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from obsctl.errors import Conflict
from obsctl.model import Json
from tests.command import Obsctl
from tests.world import World

NAME = "obs-prometheus"


def theirs(world: World, **fields: object) -> Json:
    """Somebody has made a job of this name by hand."""
    world.nomad.register_job({"ID": NAME, "TaskGroups": [{"Name": NAME, "Count": 1, "Tasks": []}], **fields})
    return world.nomad.job(NAME)


def test_deploy_refuses_and_names_the_way(folder: Path, obsctl: Obsctl, world: World) -> None:
    theirs(world)
    ran = obsctl("deploy", "--yes")
    assert ran.code == 1
    assert f"do not belong to stack obs: {NAME} (not made by obsctl)" in ran.err
    assert ran.err.splitlines()[-1].endswith(f"one job after the other: obsctl adopt {NAME}")
    assert "purge" not in ran.err


def test_it_shows_what_changes_and_takes_the_job_over(folder: Path, obsctl: Obsctl, world: World) -> None:
    before = theirs(world)
    ran = obsctl("adopt", NAME, "--yes")
    assert ran.code == 0
    assert f"~ update job      {NAME}  (obsctl takes it over)" in ran.out
    assert "TaskGroups: " in ran.out, "Nomad's diff"
    assert "what runs of it now is replaced" in ran.out
    after = world.nomad.job(NAME)
    assert (after["Meta"]["obsctl.stack"], after["Meta"]["obsctl.component"]) == ("obs", "prometheus")
    assert after["Version"] == before["Version"] + 1
    assert obsctl("deploy", "--yes").code == 0
    assert "Nothing to change" in obsctl("plan").out


def test_a_job_that_is_just_as_configured_gets_the_marks(folder: Path, obsctl: Obsctl, world: World) -> None:
    obsctl("deploy", "--yes")
    marked = world.nomad.job(NAME)
    world.nomad.register_job({**marked, "Meta": None})
    assert obsctl("plan").code == 1
    assert obsctl("adopt", NAME, "--yes").code == 0
    assert world.nomad.job(NAME)["Meta"] == marked["Meta"]


def test_nothing_is_taken_over_without_a_yes(folder: Path, obsctl: Obsctl, world: World) -> None:
    before = theirs(world)
    ran = obsctl("adopt", NAME)
    assert (ran.code, "add --yes" in ran.err) == (1, True)
    assert world.nomad.job(NAME) == before


def test_only_this_job_is_touched(folder: Path, obsctl: Obsctl, world: World) -> None:
    theirs(world)
    world.nomad.register_job({"ID": "obs-warden", "TaskGroups": []})
    assert obsctl("adopt", NAME, "--yes").code == 0
    assert [job["ID"] for job in world.nomad.jobs()] == [NAME, "obs-warden"]
    assert "obsctl.stack" not in (world.nomad.job("obs-warden").get("Meta") or {})


@pytest.mark.parametrize(
    ("job", "meta", "words"),
    [
        (NAME, {"obsctl.stack": "other"}, f"{NAME} belongs to stack other; it is not taken over"),
        (NAME, {"obsctl.stack": "obs"}, f"{NAME} belongs to stack obs already"),
        ("shop", {}, "shop is no job of stack obs: its jobs are obs-alert-sink, obs-alertmanager"),
        ("obs-warden", {}, "there is no job obs-warden that could be taken over"),
    ],
)
def test_what_is_refused(folder: Path, obsctl: Obsctl, world: World, job: str, meta: Json, words: str) -> None:
    before = theirs(world, Meta=meta)
    ran = obsctl("adopt", job, "--yes")
    assert ran.code == 1
    assert f"Error: {words}" in ran.err
    assert world.nomad.job(NAME) == before


def test_a_job_that_changes_meanwhile_is_left_alone(
    folder: Path, obsctl: Obsctl, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs(world)
    register = world.nomad.register_job

    def late(job: Json, *, enforce_index: int | None = None) -> str:
        theirs_now = {"ID": NAME, "TaskGroups": [{"Name": "newer", "Count": 1, "Tasks": []}]}
        register(theirs_now)
        return register(job, enforce_index=enforce_index)

    monkeypatch.setattr(world.nomad, "register_job", late)
    ran = obsctl("adopt", NAME, "--yes")
    assert ran.code == 1
    assert "has modify index" in ran.err
    assert world.nomad.job(NAME)["TaskGroups"][0]["Name"] == "newer"
    assert Conflict.__name__ not in ran.err
