"""Calls that end elsewhere than they should: another server, another port, another region, another one's key."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_server, socket

import pytest

from obsctl.clients import connect
from obsctl.clients.consul_api import ConsulClient
from obsctl.clients.nomad_api import NomadClient
from obsctl.config.api_servers import ConsulServer, NomadServer, Tls
from obsctl.errors import ApiError, NotFound, ServerFailed, Unreachable
from tests.command import Obsctl
from tests.stub_server import Answer, StubServer, stub_server

TOKEN = "5ecf7a10-0000-4000-8000-c0ffee5ec4e7"
TEXT = {"Content-Type": "text/plain; charset=utf-8"}
OF_CONSUL = {"X-Consul-Default-ACL-Policy": "deny"}
OF_NOMAD = {"X-Nomad-Index": "7", "X-Nomad-Knownleader": "true"}
HTTP_TO_TLS = Answer(400, b"Client sent an HTTP request to an HTTPS server.\n", {})
NO_PATH_OF_CONSUL = Answer(404, b"Invalid URL path: not a recognized HTTP API endpoint", TEXT)


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with stub_server() as server:
        yield server


def nomad(stub: StubServer, region: str | None = None) -> NomadClient:
    client = connect.nomad(NomadServer(address=stub.address, region=region), token=TOKEN)
    assert isinstance(client, NomadClient)
    return client


def consul(stub: StubServer, datacenter: str | None = None) -> ConsulClient:
    client = connect.consul(ConsulServer(address=stub.address, datacenter=datacenter), token=TOKEN)
    assert isinstance(client, ConsulClient)
    return client


class TestSwappedAddresses:
    """The answers are those of Nomad 1.6 and Consul 1.14."""

    @pytest.mark.parametrize(
        "answer",
        [
            NO_PATH_OF_CONSUL,
            Answer(200, b'"127.0.0.1:8300"', OF_CONSUL),
            Answer(403, b"Permission denied: token with AccessorID '0' lacks permission 'agent:read'", OF_CONSUL),
        ],
    )
    def test_consul_in_the_place_of_nomad(self, stub: StubServer, answer: Answer) -> None:
        stub.answers = [answer]
        with pytest.raises(ServerFailed, match=rf"what answers at {stub.address} is Consul, not Nomad") as caught:
            nomad(stub).leader()
        assert "set nomad.address in obsctl.yaml to the address of Nomad" in caught.value.hint
        assert "nomad.address and consul.address" in caught.value.hint

    def test_nomad_in_the_place_of_consul_says_so_by_its_headers(self, stub: StubServer) -> None:
        stub.answers = [Answer(200, b"[]", OF_NOMAD)]
        with pytest.raises(ServerFailed, match="is Nomad, not Consul"):
            consul(stub).services()

    @pytest.mark.parametrize("answer", [Answer(403, b"Permission denied", {}), Answer(404, b"", {})])
    def test_a_refusal_without_consuls_headers_is_not_consuls(self, stub: StubServer, answer: Answer) -> None:
        stub.answers = [answer]
        for call in (consul(stub).agent_version, lambda: consul(stub).entries("obsctl/obs/")):
            with pytest.raises(ServerFailed, match=rf"what answers at {stub.address} is not Consul") as caught:
                call()
            assert "set consul.address in obsctl.yaml" in caught.value.hint

    def test_a_leader_without_consuls_headers_is_not_consuls(self, stub: StubServer) -> None:
        stub.answers = [Answer(200, b'"127.0.0.1:4647"')]
        with pytest.raises(ServerFailed, match="is not Consul"):
            consul(stub).leader()

    def test_a_web_page_is_of_neither(self, stub: StubServer) -> None:
        stub.answers = [Answer(404, b"<html>no such page</html>", {"Content-Type": "text/html; charset=UTF-8"})]
        with pytest.raises(ServerFailed, match="is not Nomad"):
            nomad(stub).jobs()

    def test_what_consul_and_nomad_really_answer_is_theirs(self, stub: StubServer) -> None:
        stub.answers = [Answer(404, b"", OF_CONSUL | {"X-Consul-Index": "1"})]
        assert consul(stub).get("a") is None
        stub.answers = [Answer(404, b"job not found", OF_NOMAD)]
        with pytest.raises(NotFound):
            nomad(stub).job("a")
        stub.answers = [Answer(200, b'"127.0.0.1:8300"', OF_CONSUL)]
        assert consul(stub).leader() == "127.0.0.1:8300"


class TestWrongPlace:
    def test_a_region_that_nomad_does_not_know(self, stub: StubServer) -> None:
        stub.answers = [Answer(500, b"No path to region", TEXT)]
        with pytest.raises(ServerFailed) as caught:
            nomad(stub, "mars").leader()
        assert "nomad.region in obsctl.yaml is mars" in caught.value.hint
        assert "`nomad server members`" in caught.value.hint
        with pytest.raises(ServerFailed, match="No path to region") as caught:
            nomad(stub).leader()
        assert "nomad.region" not in caught.value.hint

    def test_a_datacenter_that_consul_does_not_know(self, stub: StubServer) -> None:
        stub.answers = [Answer(500, b"No path to datacenter", TEXT | OF_CONSUL)]
        with pytest.raises(ServerFailed) as caught:
            consul(stub, "mars").get("a")
        assert "consul.datacenter in obsctl.yaml is mars" in caught.value.hint


class TestTls:
    def test_http_on_a_port_of_tls(self, stub: StubServer) -> None:
        stub.answers = [HTTP_TO_TLS]
        for key, call in (("nomad", nomad(stub).jobs), ("consul", consul(stub).leader)):
            with pytest.raises(ApiError) as caught:
                call()
            assert caught.value.hint == (
                f"the server speaks TLS on this port: write https:// in {key}.address in obsctl.yaml"
            )

    def test_https_on_a_port_without_tls(self, stub: StubServer) -> None:
        stub.address = stub.address.replace("http:", "https:")
        with pytest.raises(Unreachable, match="the server speaks no TLS on this port") as caught:
            nomad(stub).jobs()
        assert "write http:// in nomad.address" in caught.value.hint

    @pytest.mark.parametrize(
        ("files", "words", "hint"),
        [
            (("a.pem", "b-key.pem"), "the client certificate and its key do not belong together", "was made"),
            (("a.pem", "elliptic-key.pem"), "the client certificate and its key do not belong together", "was made"),
            (("a-key.pem", "a.pem"), "cannot be read as PEM", "not the other way round"),
            (None, "the server wants a client certificate", "set consul.tls.cert_file and consul.tls.key_file"),
        ],
    )
    def test_a_client_certificate_that_is_wrong(
        self, tmp_path: Path, files: tuple[str, str] | None, words: str, hint: str
    ) -> None:
        make_certificates(tmp_path)
        own = {key: str(tmp_path / name) for key, name in zip(("cert_file", "key_file"), files or (), strict=False)}
        with mutual_tls(tmp_path) as address:
            tls = Tls.model_validate({"ca_file": str(tmp_path / "a.pem"), **own})
            with pytest.raises(Unreachable, match=words) as caught:
                connect.consul(ConsulServer(address=address, tls=tls)).leader()
        assert hint in caught.value.hint
        assert "consul.tls.key_file" in caught.value.hint


def make_certificates(folder: Path) -> None:
    """Two that belong to nobody else, and the key of a third, of another kind."""
    for name, kind in (("a", "rsa:2048"), ("b", "rsa:2048"), ("elliptic", "ec")):
        options = ["-pkeyopt", "ec_paramgen_curve:prime256v1"] if kind == "ec" else []
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", kind, *options, "-nodes", "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{name}-key.pem", "-out", f"{name}.pem"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip


@contextmanager
def mutual_tls(folder: Path) -> Iterator[str]:
    """The address of a server that takes nobody without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "a.pem", folder / "a-key.pem")
    context.load_verify_locations(folder / "a.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_shake_hands, args=(listener, context))
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(2)
            thread.join()


def _shake_hands(listener: socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection.dup() as raw, suppress(OSError):
            with suppress(OSError):
                context.wrap_socket(connection, server_side=True).close()
            raw.recv(65536)  # a connection that is closed on unread bytes loses what was said last


class TestTokens:
    @pytest.fixture
    def configured(self, folder: Path, stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> StubServer:
        monkeypatch.setenv("NOMAD_TOKEN", "operator")
        monkeypatch.setenv("OTHER_TOKEN", "other")
        server = {"address": stub.address, "token": "env:NOMAD_TOKEN"}
        (folder / "obsctl.yaml").write_text(json.dumps({"stack": "obs", "nomad": server}))
        stub.answers = [Answer(403, b"Permission denied", {})]
        return stub

    def test_the_token_of_the_option_is_the_one_that_is_blamed(self, obsctl: Obsctl, configured: StubServer) -> None:
        ran = obsctl("setup", "nomad-policies", "--token", "env:OTHER_TOKEN")
        assert ran.code == 1
        assert "the token of --token is unknown to Nomad, or has expired, or its policies do not allow this" in ran.err
        assert "a management token" in ran.err
        assert "nomad.token" not in ran.err

    def test_else_that_of_obsctl_yaml(self, obsctl: Obsctl, configured: StubServer) -> None:
        ran = obsctl("setup", "nomad-policies")
        assert "nomad.token is unknown to Nomad, or has expired" in ran.err
        assert "the call takes a management token" in ran.err
