"""Volumes that a deploy makes, and what a plan says of data that gets lost."""

from __future__ import annotations

import copy
from copy import deepcopy
from typing import Any

import pytest

from obsctl.config.components import Availability
from obsctl.errors import Forbidden, ObsctlError
from obsctl.stack.apply import ApplyFailed
from obsctl.stack.plan import Action, losses, plan
from obsctl.stack.storage import homes
from tests.fakes.nomad import NODE
from tests.world import World, config, reasons


def kept(kind: str, driver: str = "docker", **more: Any) -> Any:
    """The alert path with this storage for Prometheus; nothing else has data on disk."""
    off = {name: {"storage": {"kind": "ephemeral"}} for name in ("alertmanager", "alert-sink")}
    return config(driver=driver, components={**off, "prometheus": {"storage": {"kind": kind, **more}}})


DYNAMIC = kept("dynamic")


@pytest.fixture
def world() -> World:
    return World()


def node(name: str, **keys: Any) -> dict[str, Any]:
    return {**deepcopy(NODE), "ID": f"id-of-{name}", "Name": name, **keys}


def volumes(world: World, wanted: Any, *only: str) -> dict[str, str]:
    """The changes of volumes: name -> action."""
    changes = world.plan(wanted, *only).changes
    return {change.name: change.action.value for change in changes if change.kind == "volume"}


class TestDynamicVolumes:
    def test_one_that_is_missing_is_made_before_the_jobs(self, world: World) -> None:
        made = world.plan(DYNAMIC)
        kinds = [change.kind for change in made.changes]
        assert kinds == sorted(kinds, key=["variable", "content", "volume", "job"].index)
        [change] = [change for change in made.changes if change.kind == "volume"]
        assert (change.name, change.action) == ("obs-prometheus on node-1", Action.CREATE)
        assert change.details == ("a folder that uid 65534 can write",)

    def test_a_deploy_makes_it_for_the_user_of_the_image(self, world: World) -> None:
        world.deploy(DYNAMIC)
        [volume] = world.nomad.volumes()
        assert (volume["Name"], volume["PluginID"]) == ("obs-prometheus", "mkdir")
        assert volume["Parameters"] == {"uid": "65534", "mode": "0700"}
        assert volumes(world, DYNAMIC) == {"obs-prometheus on node-1": "none"}
        assert world.plan(DYNAMIC).effective == ()

    def test_it_waits_until_the_volume_can_be_used(self, world: World) -> None:
        pending: list[Any] = []
        create, listed = world.nomad.create_volume, world.nomad.volumes

        def slow(volume: Any) -> str:
            pending.append(create(volume))
            world.clock.after(9, pending.clear)
            return str(pending[0])

        world.nomad.create_volume = slow  # type: ignore[method-assign]
        world.nomad.volumes = lambda: [  # type: ignore[method-assign]
            {**entry, "State": "pending" if entry["ID"] in pending else "ready"} for entry in listed()
        ]
        world.deploy(DYNAMIC)
        assert world.clock.monotonic() == pytest.approx(9, abs=0.3)

    def test_one_that_never_becomes_ready_is_told(self, world: World) -> None:
        world.nomad.volumes = lambda: []  # type: ignore[method-assign]
        with pytest.raises(ApplyFailed, match="the volume obs-prometheus on node-1 was not ready within") as caught:
            world.deploy(DYNAMIC)
        assert "nomad volume status -type host" in caught.value.hint

    def test_it_is_never_taken_away(self, world: World) -> None:
        world.deploy(DYNAMIC)
        without = config(components={name: {"enabled": False} for name in ("prometheus", "alertmanager", "alert-sink")})
        assert not any(change.kind == "volume" for change in world.plan(without).changes)
        world.deploy(without)
        assert len(world.nomad.volumes()) == 1

    def test_one_that_somebody_made_is_used(self, world: World) -> None:
        world.nomad.node_stubs[0]["HostVolumes"] = {"data": {"Name": "data", "Path": "/srv/data"}}
        assert volumes(world, kept("dynamic", source="data")) == {"data on node-1": "none"}

    def test_data_on_a_node_that_does_not_answer_is_not_replaced_by_an_empty_volume(self, world: World) -> None:
        world.deploy(DYNAMIC)
        world.nomad.node_stubs[0]["Status"] = "down"
        world.nomad.node_stubs.append(node("node-2"))
        assert volumes(world, DYNAMIC) == {"obs-prometheus on node-1": "none"}

    def test_data_is_spread_over_the_nodes(self, world: World) -> None:
        world.nomad.node_stubs.append(node("node-2"))
        both = {name: {"storage": {"kind": "dynamic"}} for name in ("prometheus", "alertmanager", "alert-sink")}
        assert set(volumes(world, config(components=both))) == {
            "obs-alert-sink on node-1",
            "obs-alertmanager on node-1",
            "obs-prometheus on node-2",
        }

    def test_with_only_some_components_no_other_volume_is_made(self, world: World) -> None:
        assert volumes(world, DYNAMIC, "warden") == {}
        assert volumes(world, DYNAMIC, "prometheus") == {"obs-prometheus on node-1": "create"}

    def test_where_no_node_can_have_it_the_plan_says_so(self, world: World) -> None:
        world.nomad.node_stubs[0]["Drivers"]["docker"]["Healthy"] = False
        world.nomad.parse_job = with_driver(world, "docker")  # type: ignore[method-assign]
        with pytest.raises(ObsctlError, match="no node can have the volume obs-prometheus of prometheus") as caught:
            world.plan(DYNAMIC)
        assert "obsctl doctor" in caught.value.hint

    @pytest.mark.parametrize(("profile", "nodes"), [("ha", {"node-1", "node-2"}), ("ha-one-node", {"node-1"})])
    def test_several_have_one_each_on_nodes_of_their_own(self, world: World, profile: str, nodes: set[str]) -> None:
        world.nomad.node_stubs += [node("node-2"), node("node-3")]
        wanted = kept("dynamic").model_copy(update={"profile": Availability(profile)})
        assert volumes(world, wanted) == {f"obs-prometheus on {name}": "create" for name in nodes}

    def test_a_system_job_gets_one_on_every_node(self, world: World) -> None:
        parts = {"otel-agent": {"enabled": True, "storage": {"kind": "dynamic"}}, "otel-gateway": {"enabled": True}}
        world.nomad.node_stubs += [node("node-2"), node("node-3", SchedulingEligibility="ineligible")]
        wanted = config(components=parts)
        assert volumes(world, wanted) == dict.fromkeys(
            ["obs-otel-agent on node-1", "obs-otel-agent on node-2"], "create"
        )
        world.deploy(wanted)
        world.nomad.node_stubs.append(node("node-4"))
        assert reasons(world.plan(wanted)) == {"obs-otel-agent on node-4": "create: does not exist"}

    def test_who_may_not_list_nodes_cannot_have_volumes_made(self, world: World) -> None:
        world.nomad.failures["nodes"] = Forbidden("no", hint="node:read")
        with pytest.raises(Forbidden):
            world.plan(DYNAMIC)
        assert world.plan(kept("host")).effective


def with_driver(world: World, driver: str) -> Any:
    """The fake reads no drivers from HCL."""
    parse = world.nomad.parse_job

    def parsed(hcl: str) -> Any:
        job = parse(hcl)
        for task in job["TaskGroups"][0]["Tasks"]:
            task["Driver"] = driver
        return job

    return parsed


JOB = {"Datacenters": ["eu-*"], "NodePool": "obs", "TaskGroups": [{"Tasks": [{"Driver": "docker"}]}]}


class TestHomes:
    @pytest.mark.parametrize(
        ("constraint", "fits"),
        [
            (("${node.class}", "=", "large"), True),
            (("${node.class}", "=", "small"), False),
            (("${meta.rack}", "!=", "r1"), False),
            (("${meta.none}", "!=", "r1"), True),
            (("${meta.none}", "=", "r1"), False),
            (("${meta.rack}", "is_set", ""), True),
            (("${meta.rack}", "is_not_set", ""), False),
            (("${attr.cpu.numcores}", ">=", "8"), True),
            (("${attr.cpu.numcores}", "<", "8"), False),
            (("${attr.kernel.name}", "regexp", "^lin"), True),
            (("${attr.kernel.name}", "regexp", "(?<x"), True),
            (("${meta.tags}", "set_contains", "ssd, fast"), True),
            (("${meta.tags}", "set_contains", "ssd,big"), False),
            (("${meta.tags}", "set_contains_any", "ssd,big"), True),
            (("${attr.nomad.version}", "version", ">= 1.6"), True),
            (("${attr.none}", "version", ">= 1.6"), False),
            (("", "distinct_hosts", "true"), True),
        ],
    )
    @pytest.mark.parametrize("level", ["job", "group", "task"])
    def test_a_node_must_be_as_the_constraints_want_it(self, constraint: Any, fits: bool, level: str) -> None:
        attributes = {"cpu.numcores": "16", "kernel.name": "linux", "nomad.version": "1.6.1"}
        more = {"NodeClass": "large", "Meta": {"rack": "r1", "tags": "fast,ssd"}, "Attributes": attributes}
        one = node("one", **{"Datacenter": "eu-1", "NodePool": "obs"}, **more)
        job: Any = copy.deepcopy(JOB)
        owner = {"job": job, "group": job["TaskGroups"][0], "task": job["TaskGroups"][0]["Tasks"][0]}[level]
        owner["Constraints"] = [dict(zip(("LTarget", "Operand", "RTarget"), constraint, strict=True))]
        assert homes([one], job) == ([one] if fits else [])

    def test_what_a_stub_does_not_tell_keeps_no_node_out(self) -> None:
        one = node("one", **{"Datacenter": "eu-1", "NodePool": "obs"})
        assert homes([one], {**JOB, "Constraints": [{"LTarget": "${meta.rack}", "Operand": "=", "RTarget": "r"}]})

    @pytest.mark.parametrize(
        ("keys", "fits"),
        [
            ({}, True),
            ({"Status": "down"}, False),
            ({"SchedulingEligibility": "ineligible"}, False),
            ({"Datacenter": "us-1"}, False),
            ({"NodePool": "default"}, False),
            ({"Drivers": {"docker": {"Healthy": False}}}, False),
            ({"Drivers": {}}, False),
        ],
    )
    def test_a_node_must_fit_in_every_way(self, keys: dict[str, Any], fits: bool) -> None:
        one = node("one", **{"Datacenter": "eu-1", "NodePool": "obs", **keys})
        assert homes([one], JOB) == ([one] if fits else [])


class TestLosses:
    def told(self, world: World, wanted: Any) -> dict[str, str]:
        desired, observed = world.seen(wanted)
        return {item.where: item.what for item in losses(plan(desired, observed), wanted, desired, observed)}

    def test_ephemeral_data_is_told_of_before_it_is_there(self, world: World) -> None:
        words = "its data is lost when its allocation is replaced or rescheduled (storage: ephemeral)"
        assert self.told(world, kept("host")) == {"alertmanager": words, "alert-sink": words}

    def test_an_update_that_loses_data_says_so(self, world: World) -> None:
        before = kept("ephemeral")
        world.deploy(before)
        after = before.model_copy(update={"components": before.components.model_copy(
            update={"prometheus": before.components.prometheus.model_copy(update={"retention": 60.0})}
        )})  # fmt: skip
        assert self.told(world, before)["prometheus"].startswith("its data is lost when")
        assert self.told(world, after)["prometheus"] == "this update loses its data (storage: ephemeral)"

    def test_a_job_that_is_stopped_has_lost_its_data_already(self, world: World) -> None:
        world.deploy(kept("ephemeral"))
        world.nomad.stop_job("obs-prometheus")
        assert self.told(world, kept("ephemeral"))["prometheus"].startswith("its data is lost when")

    def test_a_stop_says_so_too(self, world: World) -> None:
        world.deploy(kept("ephemeral"))
        off = config(components={"prometheus": {"enabled": False, "storage": {"kind": "ephemeral"}}})
        assert self.told(world, off)["prometheus"] == "this stop loses its data (storage: ephemeral)"

    def test_a_folder_of_one_node_is_not_on_the_other(self, world: World) -> None:
        wanted = kept("host", driver="raw_exec")
        assert "prometheus" not in self.told(world, wanted)
        world.nomad.node_stubs.append(node("node-2"))
        assert self.told(world, wanted)["prometheus"].startswith("Nomad may place it on any of 2 nodes")

    def test_only_nodes_with_the_volume_count(self, world: World) -> None:
        world.nomad.node_stubs.append(node("node-2"))
        assert "prometheus" not in self.told(world, kept("host"))
        for stub in world.nomad.node_stubs:
            stub["HostVolumes"] = {"obs-prometheus": {"Path": "/srv"}}
        assert self.told(world, kept("host"))["prometheus"].startswith("Nomad may place it on any of 2 nodes")

    def test_a_dynamic_volume_keeps_its_job_where_the_data_is(self, world: World) -> None:
        world.nomad.node_stubs.append(node("node-2"))
        world.deploy(DYNAMIC)
        assert "prometheus" not in self.told(world, DYNAMIC)
