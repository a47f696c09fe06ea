"""What Consul refuses to the tasks of a deploy, provoked on a real cluster, and said soon after it is certain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from obsctl.clients import connect
from obsctl.clients.jobs import is_running, task_events
from obsctl.config.api_servers import ConsulServer
from obsctl.local.acls import NOMAD_AGENT, NOMAD_AGENT_RULES
from obsctl.local.cluster import LocalCluster
from obsctl.model import Json
from obsctl.setup.consul_identity import METHOD
from obsctl.stack.causes import UNREADABLE
from obsctl.stack.reload import RESTART
from obsctl.stack.why import REGISTERED
from tests.deployed import Stack, write_config
from tests.failing_jobs import CHECKED, FILE, SOON, Deploy, deploy, template
from tests.local_cluster import as_manager, running_cluster
from tests.world import ALERT_PATH

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.xdist_group("causes-consul")]
ELSEWHERE = FILE % 'range service \\"web@elsewhere\\" }}{{ .Address }}{{ end'
UNKNOWN = "11111111-2222-3333-4444-555555555555"
WITH_IDENTITY = template(group="consul {}", task=FILE % 'key \\"some/key\\"')


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("causes-consul")
    with running_cluster() as cluster:
        write_config(folder, cluster, components=("jaeger", "victorialogs"), demo=())
        stack = Stack(cluster, folder)
        for name in ALERT_PATH:
            stack.change(name, enabled=False)
        yield stack


@pytest.fixture(scope="module")
def refused(stack: Stack) -> Deploy:
    refuse_registration(stack.cluster)
    return deploy(stack, {"jaeger": template(group=CHECKED), "victorialogs": template(task=ELSEWHERE)})


def refuse_registration(cluster: LocalCluster) -> None:
    """Nomad's agent may not register the service; nor may an identity of it, which gets a token for another one."""
    acl = connect.consul_acl(ConsulServer(address=cluster.addresses.consul), token=cluster.access.consul_management())
    acl.put_policy(NOMAD_AGENT, NOMAD_AGENT_RULES + 'service "unready" { policy = "deny" }\n')
    for rule in binding_rules(cluster):
        if rule["BindType"] == "service":
            call(cluster, "PUT", f"binding-rule/{rule['ID']}", {**rule, "BindName": "another"})


def binding_rules(cluster: LocalCluster) -> list[Json]:
    rules: list[Json] = call(cluster, "GET", "binding-rules")
    return rules


def call(cluster: LocalCluster, method: str, path: str, body: Json | None = None) -> Json:
    """Consul's API of ACLs."""
    url = f"{cluster.addresses.consul}/v1/acl/{path}"
    answer = requests.request(method, url, json=body, headers=as_manager(cluster), timeout=10)
    answer.raise_for_status()
    document: Json = answer.json()
    return document


@dataclass(frozen=True)
class Watched:
    """A stack of the warden alone, with a Consul token of its own in a file."""

    stack: Stack
    token: Path

    def give(self, secret: str = "") -> str:
        """Put a token there: this one, or a new one with the warden's rights. Its secret."""
        own = secret or str(uuid4())
        cluster = self.stack.cluster
        if not secret:
            body = {"SecretID": own, "Policies": [{"Name": "obs-warden"}]}
            call(cluster, "PUT", "token", body)
        self.token.write_text(own)
        self.token.chmod(0o600)
        return own

    def events(self, kind: str) -> int:
        """How many of this kind the warden's task has."""
        [alloc] = [each for each in self.stack.clients.nomad.job_allocations("obs-warden") if is_running(each)]
        return sum(event["Type"] == kind for event in task_events(alloc, "warden"))


@pytest.fixture(scope="module")
def watched(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    folder = tmp_path_factory.mktemp("warden")
    consul = {"address": stack.cluster.addresses.consul, "workload_identity": False}
    consul["tokens"] = {"warden": f"file:{folder / 'token'}"}
    write_config(folder, stack.cluster, components=("warden",), demo=(), consul=consul)
    alone = Stack(stack.cluster, folder)
    for name in ALERT_PATH:
        alone.change(name, enabled=name == "warden")
    watched = Watched(alone, folder / "token")
    watched.give()
    alone.run("deploy", "--yes")
    return watched


def test_a_new_token_is_waited_for_and_one_that_consul_does_not_know_is_refused_before(watched: Watched) -> None:
    assert watched.events(RESTART) == 0
    watched.give()
    ended = watched.stack.run("-v", "deploy", "--yes")
    assert "waiting until obs-warden uses it" in ended.stdout + ended.stderr
    assert (watched.events(RESTART), watched.events("Started")) == (1, 2)
    watched.give(UNKNOWN)
    refused = watched.stack.run("deploy", "--yes", code=1).stderr
    assert "nothing was changed\n  consul.tokens.warden: Consul does not know this token" in refused
    assert watched.events(RESTART) == 1


def test_a_program_with_a_token_that_consul_no_longer_knows(watched: Watched) -> None:
    """Its log alone tells, while its check says that it is not ready."""
    own = watched.give()
    watched.stack.run("deploy", "--yes")
    [token] = [each for each in call(watched.stack.cluster, "GET", "tokens") if each["SecretID"] == own]
    call(watched.stack.cluster, "DELETE", f"token/{token['AccessorID']}")
    watched.stack.change("warden", resources={"memory": 111})
    failed = deploy(watched.stack, {})
    sentence = failed.sentence("obs-warden")
    assert "task warden/warden on nomad-client runs, but is refused what it asks: " in sentence
    assert "ACL not found" in sentence
    assert "obsctl doctor tries the programs' own tokens" in failed.text
    assert failed.waited("obs-warden", "Started", 0, task="warden") < REGISTERED + SOON / 3


def test_a_service_that_consul_does_not_take(refused: Deploy) -> None:
    """Nomad tells nobody but its own log, and its healthy deadline is 40 s."""
    assert "group g on nomad-client runs, but its service unready is not registered in Consul" in refused.sentence(
        "obs-jaeger"
    )
    assert refused.waited("obs-jaeger", "Started") < REGISTERED + SOON / 3


def test_a_service_in_a_datacenter_that_consul_does_not_know(refused: Deploy) -> None:
    sentence = refused.sentence("obs-victorialogs")
    assert "waits in a template for the service web@elsewhere, about which Consul gives it no answer" in sentence
    assert refused.waited("obs-victorialogs", "Template") < UNREADABLE + SOON


@pytest.mark.needs(nomad="1.7")
def test_an_identity_without_a_binding_rule(stack: Stack, refused: Deploy) -> None:
    for rule in binding_rules(stack.cluster):
        call(stack.cluster, "DELETE", f"binding-rule/{rule['ID']}")
    failed = deploy(stack, {"jaeger": WITH_IDENTITY, "victorialogs": WITH_IDENTITY})
    for job in ("obs-jaeger", "obs-victorialogs"):
        words = "task g/t on nomad-client gets no Consul token for task t: no binding rule of its auth method takes it"
        assert failed.sentence(job) == f"✗ {job}: {words}"
        assert failed.waited(job, "Setup Failure") < SOON
    assert "obsctl setup consul-identity shows what is missing there" in failed.text


@pytest.mark.needs(nomad="1.7")
def test_an_identity_without_an_auth_method(stack: Stack, refused: Deploy) -> None:
    call(stack.cluster, "DELETE", f"auth-method/{METHOD}")
    failed = deploy(stack, {"jaeger": template(group="consul {}", task=FILE % 'key \\"other/key\\"')})
    assert failed.sentence("obs-jaeger").endswith(f'for task t: ACL not found: auth method "{METHOD}" not found')
    assert failed.waited("obs-jaeger", "Setup Failure") < SOON
