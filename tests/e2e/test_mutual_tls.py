"""A cluster that talks by mutual TLS alone: the whole demo stack has certificates of its own there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from obsctl.local.authority import PEOPLE, PROGRAMS
from obsctl.wait import wait_until
from tests.deployed import DEMO, TELEMETRY, Stack, write_config
from tests.local_cluster import running_cluster
from tests.needs import version
from tests.tls_front import make_authority
from tests.world import ALERT_PATH

pytestmark = [pytest.mark.real, pytest.mark.timeout(400), pytest.mark.xdist_group("mutual-tls")]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with running_cluster(tls=True) as cluster:
        stack = Stack(cluster, folder)
        write_config(folder, cluster, components=(*ALERT_PATH, *TELEMETRY))
        stack.run("deploy", "--yes")
        yield stack


def test_everything_is_healthy_and_scraped_the_servers_too(stack: Stack) -> None:
    rows = {row["component"]: row["state"] for row in stack.json("status")["components"]}
    assert set(rows.values()) == {"healthy"}, rows
    stack.wait_all_up()
    jobs = {target["labels"]["job"] for target in stack.programs.prometheus.each()[0].targets()}
    assert {"nomad", "consul", "warden", "log-links", "response-service"} <= jobs
    assert "Nothing to change" in stack.run("deploy", "--yes").stdout
    assert "certificates: " in stack.run("doctor").stdout


def test_a_key_on_a_node_is_for_its_task_alone(stack: Stack) -> None:
    folder = stack.cluster.folder.path
    keys = [*folder.glob("**/secrets/nomad_key"), *folder.glob("**/secrets/consul_key")]
    both = {(name, key) for name in ("prometheus", "warden") for key in ("nomad_key", "consul_key")}
    one = {("log-links", "nomad_key"), *((name, "consul_key") for name in DEMO)}
    assert {(key.parent.parent.name, key.name) for key in keys} == both | one
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o400}


def test_a_certificate_of_another_authority_is_refused(stack: Stack, tmp_path: Path) -> None:
    own = stack.cluster.access.authority.certificate(PROGRAMS)
    foreign = make_authority(tmp_path / "foreign").parent
    pair = str(foreign / "dc1-client-consul-0.pem"), str(foreign / "dc1-client-consul-0-key.pem")
    url, ca = f"{stack.cluster.addresses.consul}/v1/status/leader", own["ca_file"]
    assert requests.get(url, cert=(own["cert_file"], own["key_file"]), verify=ca, timeout=10).status_code == 200
    with pytest.raises(requests.ConnectionError):
        requests.get(url, cert=pair, verify=ca, timeout=10)


def having(text: str, *folders: Path) -> list[Path]:
    """The files below that have this text."""
    command = ["grep", "--recursive", "--files-with-matches", "--devices=skip", "--no-messages", "--fixed-strings"]
    found = subprocess.run([*command, "-e", text, *folders], capture_output=True, text=True, check=False)
    return [Path(line) for line in found.stdout.splitlines()]


@pytest.mark.parametrize(("kind", "places"), [(PROGRAMS, {"tls", "secrets"}), (PEOPLE, {"tls"})])
def test_a_key_is_nowhere_but_with_the_tasks_and_that_of_people_not_even_there(
    stack: Stack, kind: str, places: set[str]
) -> None:
    key = Path(stack.cluster.access.authority.certificate(kind)["key_file"])
    found = having(key.read_text().splitlines()[1], stack.cluster.folder.path, stack.folder)
    assert {file.parent.name for file in found} == places
    assert {file.stat().st_mode & 0o077 for file in found} == {0}


def show(stack: Stack, certificate: Path) -> None:
    """Have the programs show this one."""
    file = stack.folder / "obsctl.yaml"
    config = json.loads(file.read_text())
    key = certificate.with_name(f"{certificate.stem}-key.pem")
    for server in ("nomad", "consul"):
        config[server]["tls"] = {"programs": {"cert": f"file:{certificate}", "key": f"file:{key}"}}
    file.write_text(json.dumps(config, indent=2))


def running(stack: Stack) -> set[str]:
    return {each["ID"] for each in stack.clients.nomad.allocations() if each["ClientStatus"] == "running"}


def given(stack: Stack) -> set[str]:
    """The certificates that tasks which run have."""
    folder = stack.cluster.folder.path / "alloc"
    return {file.read_text().strip() for each in running(stack) for file in folder.glob(f"{each}/*/secrets/*_cert")}


def test_a_certificate_is_renewed_without_a_new_start_and_a_foreign_one_refused_before(
    stack: Stack, tmp_path: Path
) -> None:
    before, allocations = given(stack), running(stack)
    assert len(before) == 1
    show(stack, make_authority(tmp_path / "foreign").with_name("dc1-client-consul-0.pem"))
    findings = stack.json("doctor", code=1)["findings"]
    told = [each["where"] for each in findings if each["severity"] == "error"]
    # From 1.7 on Nomad asks for none: Consul fetches its keys without one.
    refusing = [*(["nomad.tls.programs"] if (version("nomad") or ()) < (1, 7) else []), "consul.tls.programs"]
    assert told == refusing
    assert f"nothing was changed\n  {refusing[0]}: " in stack.run("deploy", "--yes", code=1).stderr
    assert given(stack) == before
    renewed = stack.cluster.access.authority.folder / "dc1-client-consul-0.pem"
    show(stack, renewed)
    stack.run("deploy", "--yes")
    wait_until(lambda: given(stack) == {renewed.read_text().strip()}, timeout=60, failure="no sign of it", hint="")
    stack.wait_all_up(within=60)
    assert running(stack) == allocations
