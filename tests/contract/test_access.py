"""Tokens, certificates and vanishing servers, with real agents that have ACLs and TLS switched on."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from obsctl.clients import connect
from obsctl.clients.endpoint import Endpoint
from obsctl.clients.http import Session
from obsctl.clients.protocols import ConsulApi, NomadApi
from obsctl.config.api_servers import ConsulServer, NomadServer, Tls
from obsctl.errors import Forbidden, TimedOut, Unreachable
from tests.agents import guarded_nomad, program, running, until_it_answers
from tests.ports import free_port
from tests.programs import freeze
from tests.tls_front import make_authority

pytestmark = pytest.mark.real

TOKEN = "5ecf7a10-0000-4000-8000-c0ffee5ec4e7"
WRONG = "5ecf7a10-0000-4000-8000-0000000bad00"


@dataclass(frozen=True)
class GuardedConsul:
    """A Consul that wants a token, and on https a client certificate too."""

    folder: Path
    http: int
    https: int

    def client(self, token: str | None = TOKEN, timeout: float = 10.0) -> ConsulApi:
        return connect.consul(
            ConsulServer.model_construct(address=f"http://127.0.0.1:{self.http}", tls=Tls(), timeout=timeout),
            token=token,
        )

    def token_for(self, rules: str) -> str:
        """A token that may do only this."""
        address = f"http://127.0.0.1:{self.http}"
        session = Session(Endpoint("Consul", address, down="", token=TOKEN, token_header="X-Consul-Token"))
        policy = session.put("/v1/acl/policy", json={"Name": f"test-{uuid4()}", "Rules": rules}).json()
        token = session.put("/v1/acl/token", json={"Policies": [{"ID": policy["ID"]}]}).json()
        return str(token["SecretID"])

    def secure(self, tls: Tls) -> ConsulApi:
        return connect.consul(ConsulServer(address=f"https://127.0.0.1:{self.https}", tls=tls), token=TOKEN)

    def tls(self, *, ca: str | None = "ca", certificate: bool = True, verify: bool = True) -> Tls:
        paths = {}
        if ca:
            paths["ca_file"] = str(self.folder / ca / "consul-agent-ca.pem")
        if certificate:
            paths["cert_file"] = str(self.folder / "ca" / "dc1-client-consul-0.pem")
            paths["key_file"] = str(self.folder / "ca" / "dc1-client-consul-0-key.pem")
        return Tls(verify=verify, **paths)


@pytest.fixture(scope="module")
def consul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedConsul]:
    folder = tmp_path_factory.mktemp("guarded-consul")
    make_authority(folder / "ca")
    make_authority(folder / "other-ca")
    guarded = GuardedConsul(folder, http=free_port(), https=free_port())
    (folder / "agent.json").write_text(json.dumps(_consul_config(guarded)))
    argv = [program("consul"), "agent", "-dev", "-bind=127.0.0.1", "-config-file=agent.json"]
    with running(argv, folder):
        until_it_answers(lambda: guarded.client().services(), folder)  # its tokens and its node are there
        yield guarded


def _consul_config(guarded: GuardedConsul) -> dict[str, object]:
    ca = guarded.folder / "ca"
    files = {
        "ca_file": str(ca / "consul-agent-ca.pem"),
        "cert_file": str(ca / "dc1-server-consul-0.pem"),
        "key_file": str(ca / "dc1-server-consul-0-key.pem"),
    }
    off = dict.fromkeys(("dns", "grpc", "grpc_tls", "serf_wan"), -1)
    ports = {**off, "http": guarded.http, "https": guarded.https, "server": free_port(), "serf_lan": free_port()}
    tokens = {"initial_management": TOKEN, "agent": TOKEN}
    return {
        "ports": ports,
        "acl": {"enabled": True, "default_policy": "deny", "tokens": tokens},
        "tls": {"defaults": files, "https": {"verify_incoming": True}},
    }


@pytest.fixture(scope="module")
def nomad_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Nomad server that wants a token."""
    with guarded_nomad(tmp_path_factory.mktemp("guarded-nomad"), TOKEN) as address:
        yield address


class TestTokens:
    def test_consul_with_the_right_one(self, consul: GuardedConsul) -> None:
        consul.client().put("a", b"1")
        consul.client().delete("a")

    @pytest.mark.parametrize(("token", "hint"), [(None, "set consul.token"), (WRONG, "consul.token is unknown")])
    def test_consul_without_or_with_a_wrong_one(self, consul: GuardedConsul, token: str | None, hint: str) -> None:
        client = consul.client(token)
        for call in (
            lambda: client.get("a"),
            lambda: client.entries("a"),
            lambda: client.watch("a", index=0, wait=1),
            lambda: client.put("a", b"1"),
            lambda: client.delete("a"),
            lambda: client.create_session("x", ttl=10),
            lambda: client.health("consul"),
            client.services,
            client.agent_version,
        ):
            with pytest.raises(Forbidden) as caught:
                call()
            assert hint in caught.value.hint
            assert WRONG not in caught.value.message

    def test_a_token_that_may_read_a_key_may_not_delete_it(self, consul: GuardedConsul) -> None:
        """Consul answers such a transaction with 409, as it does a lost check-and-set."""
        reader = consul.client(consul.token_for('key_prefix "" { policy = "read" }'))
        consul.client().put("kept", b"1")
        for cas in (None, 1):
            with pytest.raises(Forbidden, match="Permission denied"):
                reader.delete("kept", cas=cas)
        assert reader.get("kept") is not None

    def test_what_consul_hides_is_not_taken_for_nothing(self, consul: GuardedConsul) -> None:
        """Consul answers 200 and an empty list, or 404, for what a token may not see."""
        session = consul.client().create_session("hidden", ttl=60)
        consul.client().put("hidden/a", b"1")
        client = consul.client(consul.token_for('key_prefix "mine/" { policy = "write" }'))
        for call in (
            lambda: client.entries("hidden/"),
            lambda: client.watch("hidden/", index=0, wait=1),
            lambda: client.session_exists(session),
            lambda: client.health("consul"),
            client.services,
        ):
            with pytest.raises(Forbidden, match="because of its ACLs"):
                call()
        assert client.entries("mine/") == []
        consul.client().destroy_session(session)
        consul.client().delete("hidden/a")

    @pytest.mark.parametrize(("token", "hint"), [(None, "set nomad.token"), (WRONG, "nomad.token is unknown")])
    def test_nomad_without_or_with_a_wrong_one(self, nomad_address: str, token: str | None, hint: str) -> None:
        client = nomad(nomad_address, token)
        for call in (
            client.jobs,
            client.nodes,
            client.agent_version,
            lambda: client.job("a"),
            lambda: client.stop_job("a"),
            lambda: client.parse_job('job "a" {}'),
            lambda: client.variable("a"),
            lambda: client.put_variable("a", {"b": "hunter2"}),
        ):
            with pytest.raises(Forbidden, match="answered 403") as caught:
                call()
            assert hint in caught.value.hint
            assert "hunter2" not in caught.value.message
            assert WRONG not in caught.value.message

    def test_nomad_with_the_right_one(self, nomad_address: str) -> None:
        assert nomad(nomad_address, TOKEN).jobs() == []


class TestTls:
    def test_with_the_right_ca_and_a_certificate(self, consul: GuardedConsul) -> None:
        assert consul.secure(consul.tls()).leader()

    def test_the_ca_may_come_from_the_machine(self, consul: GuardedConsul, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(consul.folder / "ca" / "consul-agent-ca.pem"))
        assert consul.secure(consul.tls(ca=None)).leader()

    def test_with_another_ca(self, consul: GuardedConsul) -> None:
        with pytest.raises(Unreachable, match=r"TLS failed: .*certificate") as caught:
            consul.secure(consul.tls(ca="other-ca")).leader()
        assert "consul.tls.ca_file" in caught.value.hint

    def test_without_a_ca(self, consul: GuardedConsul) -> None:
        with pytest.raises(Unreachable, match="TLS failed"):
            consul.secure(consul.tls(ca=None)).leader()

    def test_without_a_certificate(self, consul: GuardedConsul) -> None:
        with pytest.raises(Unreachable, match="TLS failed") as caught:
            consul.secure(consul.tls(certificate=False)).leader()
        assert "cert_file" in caught.value.hint

    def test_without_verification(self, consul: GuardedConsul) -> None:
        assert consul.secure(consul.tls(ca=None, verify=False)).leader()


class TestVanishing:
    def test_an_agent_that_hangs_and_comes_back(self, tmp_path: Path) -> None:
        with plain_consul(tmp_path) as (process, address):
            connect.consul(ConsulServer(address=address)).put("a", b"1")
            client = connect.consul(ConsulServer.model_validate({"address": address, "timeout": "500ms"}))
            freeze(process)
            with pytest.raises(TimedOut, match=r"within 0\.5 s"):
                client.get("a")
            process.send_signal(signal.SIGCONT)
            until_it_answers(lambda: client.get("a"), tmp_path)
            found = client.get("a")
            assert found
            assert found.value == b"1"

    def test_an_agent_that_is_killed_and_started_again(self, tmp_path: Path) -> None:
        with plain_consul(tmp_path) as (process, address):
            client = connect.consul(ConsulServer(address=address))
            client.put("a", b"1")
            process.kill()
            process.wait()
            with pytest.raises(Unreachable, match="Connection refused"):
                client.get("a")
            with plain_consul(tmp_path, port=int(address.rpartition(":")[2])):
                assert client.get("a") is None  # in development mode nothing is kept


@contextmanager
def plain_consul(folder: Path, port: int | None = None) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = port or free_port()
    ports = {**dict.fromkeys(("dns", "grpc", "grpc_tls", "serf_wan"), -1), "http": port}
    config = {"ports": {**ports, "server": free_port(), "serf_lan": free_port()}}
    (folder / "agent.json").write_text(json.dumps(config))
    argv = [program("consul"), "agent", "-dev", "-bind=127.0.0.1", "-config-file=agent.json"]
    with running(argv, folder) as process:
        address = f"http://127.0.0.1:{port}"
        until_it_answers(lambda: connect.consul(ConsulServer(address=address)).leader(), folder)
        yield process, address


def nomad(address: str, token: str | None) -> NomadApi:
    return connect.nomad(NomadServer(address=address), token=token)
