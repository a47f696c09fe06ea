"""The agents' configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from obsctl.config.versions import Version
from obsctl.local.agents import (
    Addresses,
    Keys,
    command,
    config_text,
    uses_of,
)
from obsctl.local.machines import AGENTS, CLIENT, CONSUL, SERVER
from obsctl.local.ports import Ports
from obsctl.names import ALLOC_VOLUME, ROOT_VOLUME

STATE = Path("/state")
KEYS = Keys("consul gossip", "nomad gossip", "management", "of nomad")
PORTS = Ports(*range(11000, 11007), tasks_first=11010, tasks_last=11199)


def config(agent: str) -> dict[str, Any]:
    return dict(json.loads(config_text(agent, STATE, PORTS, KEYS)))


def test_every_port_belongs_to_one_agent() -> None:
    uses = [use for agent in AGENTS for use in uses_of(agent)]
    assert sorted(uses) == sorted(PORTS.by_use())


@pytest.mark.parametrize("agent", AGENTS)
def test_agents_use_their_own_ports_alone(agent: str) -> None:
    numbers = {port for port in config(agent)["ports"].values() if port > 0}
    assert numbers == {PORTS.by_use()[use] for use in uses_of(agent)}


@pytest.mark.parametrize("agent", AGENTS)
def test_agents_listen_on_loopback_and_do_not_phone_home(agent: str) -> None:
    written = config(agent)
    assert written["bind_addr"] == "127.0.0.1"
    assert written["disable_update_check"] is True
    assert written["telemetry"]["disable_hostname"] is True


@pytest.mark.parametrize("agent", AGENTS)
def test_all_data_is_below_the_state_folder(agent: str) -> None:
    assert config(agent)["data_dir"] == f"/state/data/{agent}"


def test_client_knows_its_server_and_its_volumes() -> None:
    client = config(CLIENT)["client"]
    assert client["servers"] == ["127.0.0.1:11004"]
    assert client["meta"] == {"obsctl_volumes": "/state/volumes"}
    assert client["host_volume"] == {
        "obsctl-nomad-alloc": {"path": client["alloc_dir"], "read_only": False},
        "obsctl-host-root": {"path": "/", "read_only": True},
    }
    assert config(CLIENT)["plugin"]["raw_exec"]["config"]["enabled"] is True


def test_tasks_get_ports_that_no_other_cluster_of_this_machine_hands_out() -> None:
    client = config(CLIENT)["client"]
    assert (client["min_dynamic_port"], client["max_dynamic_port"]) == (11010, 11199)


def test_client_offers_host_volumes_by_name() -> None:
    text = config_text(CLIENT, STATE, PORTS, KEYS, [Path("/state/host-volumes/obs-jaeger")])
    offered = json.loads(text)["client"]["host_volume"]
    assert offered.pop("obs-jaeger") == {"path": "/state/host-volumes/obs-jaeger"}
    assert set(offered) == {ALLOC_VOLUME, ROOT_VOLUME}
    assert "obs-jaeger" not in config_text(SERVER, STATE, PORTS, KEYS, [Path("/state/host-volumes/obs-jaeger")])


@pytest.mark.parametrize(("version", "told"), [((1, 14, 11), False), ((1, 15, 2), False), ((1, 15, 3), True),
                                               ((1, 22, 0), True), ((), False)])  # fmt: skip
def test_a_consul_that_limits_how_long_it_stands_still_is_told_not_to(version: Version, told: bool) -> None:
    """One that does not know the key refuses to start with it."""
    assert (
        "server_rejoin_age_max" in json.loads(config_text(CONSUL, STATE, PORTS, KEYS, versions={"consul": version}))
    ) is told
    assert "server_rejoin_age_max" not in config_text(SERVER, STATE, PORTS, KEYS, versions={"consul": version})


def test_paths_with_quotes_stay_json() -> None:
    text = config_text(CLIENT, Path('/a "b"'), PORTS, KEYS)
    assert json.loads(text)["client"]["alloc_dir"] == '/a "b"/alloc'


def test_commands() -> None:
    config_file = Path("/state/config/x.json")
    assert command(CONSUL, Path("/bin"), config_file) == ["/bin/consul", "agent", f"-config-file={config_file}"]
    assert command(SERVER, Path("/bin"), config_file) == ["/bin/nomad", "agent", f"-config={config_file}"]


def test_addresses() -> None:
    addresses = Addresses.of(PORTS)
    assert [addresses.of_agent(agent) for agent in AGENTS] == [
        "http://127.0.0.1:11000",
        "http://127.0.0.1:11003",
        "http://127.0.0.1:11006",
    ]


def test_every_call_wants_a_token_and_gossip_is_encrypted() -> None:
    assert config(CONSUL)["acl"]["enabled"] is True
    assert config(CONSUL)["acl"]["default_policy"] == "deny"
    assert config(CONSUL)["encrypt"] == "consul gossip"
    assert config(SERVER)["server"]["encrypt"] == "nomad gossip"
    for agent in (SERVER, CLIENT):
        assert config(agent)["acl"] == {"enabled": True}
        assert config(agent)["consul"]["token"] == "of nomad"


@pytest.mark.parametrize(("version", "told"), [((), False), ((1, 6, 10), False), ((1, 7), True), ((2, 0, 5), True)])
def test_tasks_have_identities_where_nomad_can_give_them(version: Version, told: bool) -> None:
    versions = {"nomad": version, "consul": (1, 15)}
    for agent in (SERVER, CLIENT):
        consul = json.loads(config_text(agent, STATE, PORTS, KEYS, versions=versions))["consul"]
        assert ("task_identity" in consul, "service_identity" in consul) == (told, told)
    assert "consul" not in json.loads(config_text(CONSUL, STATE, PORTS, KEYS, versions=versions))


def test_services_have_none_where_consul_would_keep_them_when_their_token_is_gone() -> None:
    text = config_text(CLIENT, STATE, PORTS, KEYS, versions={"nomad": (2, 0, 5), "consul": (1, 14, 11)})
    assert "task_identity" in json.loads(text)["consul"]
    assert "service_identity" not in json.loads(text)["consul"]


def test_with_a_certificate_they_talk_by_tls_alone() -> None:
    files = {"ca_file": "/ca", "cert_file": "/cert", "key_file": "/key"}
    of = {
        agent: json.loads(config_text(agent, STATE, PORTS, KEYS, versions={"nomad": (1, 6)}, certificate=files))
        for agent in AGENTS
    }
    assert (of[CONSUL]["ports"]["http"], of[CONSUL]["ports"]["https"]) == (-1, PORTS.consul_http)
    assert of[CONSUL]["tls"]["defaults"] == {**files, "verify_incoming": True, "verify_outgoing": True}
    for agent in (SERVER, CLIENT):
        assert of[agent]["tls"]["verify_https_client"] is True
        assert of[agent]["tls"]["verify_server_hostname"] is True
        assert of[agent]["consul"].items() >= {"ssl": True, **files}.items()
    newer = json.loads(config_text(SERVER, STATE, PORTS, KEYS, versions={"nomad": (1, 7)}, certificate=files))
    assert newer["tls"]["verify_https_client"] is False
