"""Secrets that are made, kept and shown: made once, never changed, and seen by nobody who did not ask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from obsctl.config.schema import Config
from obsctl.config.secrets import generate
from obsctl.errors import Forbidden
from tests.command import Obsctl
from tests.world import OTHERS_OFF, World, config, reasons

VARIABLE = "nomad/jobs/obs-grafana"
WITH_GRAFANA = {**OTHERS_OFF, "grafana": {"enabled": True}}


def with_grafana(**keys: object) -> Config:
    return config(components={"grafana": {"enabled": True}}, **keys)


def items(world: World) -> dict[str, str]:
    variable = world.nomad.variable(VARIABLE)
    assert variable is not None
    return variable.items


@pytest.fixture
def grafana(folder: Path) -> Path:
    (folder / "obsctl.yaml").write_text(json.dumps({"components": WITH_GRAFANA}))
    return folder


def test_a_generated_secret_is_long_random_and_needs_no_quotes() -> None:
    made = {generate().reveal() for _ in range(50)}
    assert len(made) == 50
    assert all(len(value) >= 24 and value.isascii() and value.isalnum() for value in made)


def test_the_first_deploy_makes_them_and_later_ones_leave_them(world: World) -> None:
    assert reasons(world.plan(with_grafana()))[VARIABLE] == "create: does not exist"
    world.deploy(with_grafana())
    first = items(world)
    assert sorted(first) == ["admin_password", "secret_key"]
    assert first["admin_password"] != first["secret_key"]
    assert world.plan(with_grafana()).effective == ()
    world.deploy(with_grafana(timing="fast"))
    assert items(world) == first


def test_one_secret_is_in_two_variables_and_follows_the_one_that_keeps_it(world: World) -> None:
    keeper, other = "nomad/jobs/obs-alert-sink", "nomad/jobs/obs-alertmanager"
    world.deploy(config())
    assert item(world, keeper) == item(world, other)
    world.nomad.put_variable(keeper, {"delivery_key": "new"})
    assert reasons(world.plan(config())) == {other: "update: a value differs"}
    world.deploy(config())
    assert item(world, other) == "new"


def item(world: World, path: str) -> str:
    variable = world.nomad.variable(path)
    assert variable is not None
    return variable.items["delivery_key"]


def test_they_outlive_a_time_without_grafana(world: World) -> None:
    world.deploy(with_grafana())
    first = items(world)
    world.deploy(config())
    world.deploy(with_grafana())
    assert items(world) == first


def test_what_somebody_chose_instead_is_kept_and_only_what_is_missing_is_made(world: World) -> None:
    world.nomad.put_variable(VARIABLE, {"admin_password": "chosen-by-a-person"})
    world.deploy(with_grafana())
    assert items(world)["admin_password"] == "chosen-by-a-person"
    assert len(items(world)["secret_key"]) >= 24


def test_a_plan_alone_makes_nothing_that_stays(grafana: Path, obsctl: Obsctl, world: World) -> None:
    assert obsctl("plan").code == 0
    assert world.nomad.variable(VARIABLE) is None


def test_no_output_of_a_deploy_holds_them(grafana: Path, obsctl: Obsctl, world: World) -> None:
    said = [obsctl("-v", "plan"), obsctl("-v", "deploy", "--yes"), obsctl("--json", "plan"), obsctl("render")]
    said += [obsctl("secrets", "list"), obsctl("--json", "secrets", "list"), obsctl("config", "show")]
    assert [ran.code for ran in said] == [0] * len(said)
    assert [value for value in items(world).values() if value in str(said)] == []


def test_the_list_names_all_and_asks_nobody(grafana: Path, obsctl: Obsctl, world: World) -> None:
    secrets = obsctl("--json", "secrets", "list").document()["secrets"]
    assert [(secret["name"], secret["variable"], secret["item"], secret["origin"]) for secret in secrets] == [
        ("alert-sink-delivery-key", "nomad/jobs/obs-alert-sink", "delivery_key", "generated"),
        ("warden-recipe-key", "nomad/jobs/obs-warden", "recipe_key", "generated"),
        ("alertmanager-delivery-key", "nomad/jobs/obs-alertmanager", "delivery_key", "generated"),
        ("grafana-admin", VARIABLE, "admin_password", "generated"),
        ("grafana-secret-key", VARIABLE, "secret_key", "generated"),
    ]
    assert world.nomad.calls == []


def test_the_list_says_where_references_come_from(grafana: Path, obsctl: Obsctl) -> None:
    (grafana / "obsctl.yaml").write_text(
        json.dumps({"components": OTHERS_OFF, "consul": {"tokens": {"prometheus": "env:TOKEN"}}})
    )
    rows = obsctl("secrets", "list").out
    assert "prometheus-consul-token" in rows
    assert "env:TOKEN" in rows


def test_a_stack_may_have_none(folder: Path, obsctl: Obsctl) -> None:
    off = {name: {"enabled": False} for name in ("alert-sink", "alertmanager", "warden")}
    (folder / "obsctl.yaml").write_text(json.dumps({"components": {**OTHERS_OFF, "prometheus": {}, **off}}))
    assert obsctl("secrets", "list").out == "This stack has no secrets.\n"


def test_show_prints_the_value_and_nothing_else(grafana: Path, obsctl: Obsctl, world: World) -> None:
    world.deploy(with_grafana())
    ran = obsctl("secrets", "show", "grafana-admin")
    assert (ran.code, ran.out, ran.err) == (0, items(world)["admin_password"] + "\n", "")
    document = obsctl("--json", "secrets", "show", "grafana-admin").document()
    assert (document["schema"], document["value"]) == ("obsctl/secret/v1", items(world)["admin_password"])


def test_before_the_first_deploy_there_is_none_to_show(grafana: Path, obsctl: Obsctl, world: World) -> None:
    ran = obsctl("secrets", "show", "grafana-admin")
    assert (ran.code, ran.out) == (1, "")
    assert "grafana-admin does not exist yet" in ran.err
    assert "obsctl deploy creates it" in ran.err


def test_who_may_not_read_it_is_told_what_it_takes(grafana: Path, obsctl: Obsctl, world: World) -> None:
    world.nomad.failures["variable"] = Forbidden("Nomad answered 403", hint="what the call takes: namespace …")
    ran = obsctl("secrets", "show", "grafana-admin")
    assert (ran.code, ran.out) == (1, "")
    assert "what the call takes: namespace" in ran.err


def test_an_unknown_name_is_answered_with_the_known_ones(grafana: Path, obsctl: Obsctl) -> None:
    ran = obsctl("secrets", "show", "grafana")
    assert ran.code == 2
    assert "alertmanager-delivery-key, grafana-admin, grafana-secret-key" in ran.err
