"""The registry client, where registries are odd; how it gets on with real ones is in tests/contract."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests

from obsctl.clients import http
from obsctl.clients.endpoint import Endpoint
from obsctl.clients.registry_api import RegistryClient, address_of
from obsctl.errors import ApiError, Forbidden, Rejected, ServerFailed
from tests.stub_server import Answer, StubServer, stub_server

DIGEST = f"sha256:{'a' * 64}"
FOUND = Answer(body=b"", headers={"Docker-Content-Digest": DIGEST})
TOKEN = "t0ken-of-the-registry"
PASSWORD = "s3cret-of-the-registry"


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with stub_server() as server:
        yield server


def client(stub: StubServer, *, login: bool = False, address: str = "") -> RegistryClient:
    server = Endpoint("the registry", address or stub.address, "is it there?", outside=True)
    return RegistryClient(server, ("puller", PASSWORD) if login else None)


def wants(challenge: str) -> Answer:
    return Answer(401, b'{"errors": []}', {"WWW-Authenticate": challenge})


def failure(stub: StubServer, *answers: Answer, login: bool = False) -> ApiError:
    stub.answers = list(answers)
    with pytest.raises(ApiError) as caught:
        client(stub, login=login).digest("team/app", "1")
    assert not {TOKEN, PASSWORD} & set((caught.value.message + caught.value.hint).split())
    return caught.value


def test_it_asks_for_the_index_without_the_body(stub: StubServer) -> None:
    stub.answers = [FOUND]
    assert client(stub).digest("team/app", "1") == DIGEST
    [asked] = stub.asked
    assert (asked.method, asked.path) == ("HEAD", "/v2/team/app/manifests/1")
    assert asked.headers["accept"].startswith("application/vnd.oci.image.index.v1+json, application/vnd.docker")
    assert "authorization" not in asked.headers


def test_a_token_goes_to_the_registry_and_the_password_does_not(stub: StubServer) -> None:
    challenge = f'Bearer realm="{stub.address}/token",service="images",scope="repository:team/app:pull,push"'
    stub.answers = [wants(challenge), Answer(body=f'{{"access_token": "{TOKEN}"}}'.encode()), FOUND]
    assert client(stub, login=True).digest("team/app", "1") == DIGEST
    first, giver, second = stub.asked
    assert "authorization" not in first.headers
    assert giver.params == {"service": "images", "scope": "repository:team/app:pull,push"}
    assert giver.headers["authorization"].startswith("Basic ")
    assert second.headers["authorization"] == f"Bearer {TOKEN}"


def test_an_answer_without_a_digest(stub: StubServer) -> None:
    error = failure(stub, Answer(body=b"", headers={}))
    assert isinstance(error, ServerFailed)
    assert "gave no digest of team/app:1: ''" in error.message


def test_a_token_server_without_a_token(stub: StubServer) -> None:
    error = failure(stub, wants(f'Bearer realm="{stub.address}/token"'), Answer(body=b"{}"))
    assert isinstance(error, ServerFailed)
    assert "the token server" in error.message


@pytest.mark.parametrize("challenge", ['Basic realm="images"', "Negotiate", ""])
def test_a_registry_that_wants_a_login_and_gets_none(stub: StubServer, challenge: str) -> None:
    error = failure(stub, wants(challenge))
    assert isinstance(error, Forbidden)
    assert "without a login" in error.message
    assert "images.username" in error.hint


def test_a_wrong_password(stub: StubServer) -> None:
    basic = wants('Basic realm="images"')
    error = failure(stub, basic, basic, login=True)
    assert isinstance(error, Forbidden)
    assert "with this login" in error.message


def test_a_password_does_not_leave_tls(stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry at this address has TLS, and sends to a token server that has none."""
    plain = http.Session.request

    def without_tls(session: http.Session, method: str, url: str, **kwargs: object) -> object:
        return plain(session, method, stub.address + url, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(http.Session, "request", without_tls)
    stub.answers = [wants(f'Bearer realm="{stub.address}/token",service="images"')]
    with pytest.raises(ServerFailed, match=r"refers to http://.* for a token, which does not use TLS"):
        client(stub, login=True, address="https://registry.test").digest("team/app", "1")
    assert [asked.path for asked in stub.asked] == ["/v2/team/app/manifests/1"]


class TestWhoGetsThePassword:
    """The registry that the user names, and who else is named; not whom the registry names."""

    @pytest.fixture
    def other(self) -> Iterator[StubServer]:
        with stub_server() as server:
            server.answers = [Answer(body=f'{{"token": "{TOKEN}"}}'.encode())]
            yield server

    def realm(self, address: str) -> Answer:
        return wants(f'Bearer realm="{address}/token",service="images"')

    def logged_in(self, stub: StubServer, token_server: str | None = None) -> RegistryClient:
        return RegistryClient(Endpoint("the registry", stub.address, "?"), ("puller", PASSWORD), token_server)

    def test_another_server_gets_nothing(self, stub: StubServer, other: StubServer) -> None:
        stub.answers = [self.realm(other.address), FOUND]
        host = other.address.removeprefix("http://")
        with pytest.raises(Rejected, match=f"refers to another server, {host}, for a token") as caught:
            self.logged_in(stub).digest("team/app", "1")
        assert f"images.token_server: {host}" in caught.value.hint
        assert other.asked == []

    def test_a_name_in_front_of_the_host_does_not_hide_it(self, stub: StubServer, other: StubServer) -> None:
        looks_right = other.address.replace("http://", f"{stub.address}@")
        stub.answers = [self.realm(looks_right), FOUND]
        with pytest.raises(Rejected):
            self.logged_in(stub).digest("team/app", "1")
        assert other.asked == []

    def test_one_that_the_user_names_gets_it(self, stub: StubServer, other: StubServer) -> None:
        stub.answers = [self.realm(other.address), FOUND]
        assert self.logged_in(stub, other.address.removeprefix("http://")).digest("team/app", "1") == DIGEST
        assert other.asked[0].headers["authorization"].startswith("Basic ")

    def test_without_a_login_there_is_nothing_to_keep(self, stub: StubServer, other: StubServer) -> None:
        stub.answers = [self.realm(other.address), FOUND]
        assert client(stub).digest("team/app", "1") == DIGEST
        assert "authorization" not in other.asked[0].headers

    @pytest.mark.parametrize("first", ["registry", "token server"])
    def test_a_redirect_does_not_carry_it(self, stub: StubServer, other: StubServer, first: str) -> None:
        away = Answer(307, b"", {"Location": f"{other.address}/v2/"})
        basic = wants('Basic realm="images"')
        stub.answers = [basic, away] if first == "registry" else [self.realm(stub.address), away]
        with pytest.raises(Rejected, match="a redirect to"):
            self.logged_in(stub).digest("team/app", "1")
        assert other.asked == []

    @pytest.mark.parametrize(("host", "sent"), [("auth.docker.io", True), ("auth.docker.io.evil.test", False)])
    def test_docker_hub_has_its_own(self, host: str, sent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[str, bool]] = []

        def answer(session: http.Session, method: str, path: str, **_: object) -> requests.Response:
            asked.append((session.endpoint.address, "Authorization" in session.headers))
            response = requests.Response()
            response.status_code = 401 if len(asked) == 1 else 200
            response.raw = io.BytesIO(b'{"token": "x"}')
            response.headers.update({"WWW-Authenticate": f'Bearer realm="https://{host}/token"'})
            response.headers.update({"Docker-Content-Digest": DIGEST})
            return response

        monkeypatch.setattr(http.Session, "request", answer)
        hub = Endpoint("the registry", address_of("docker.io", None), "?")
        with suppress(Rejected):
            RegistryClient(hub, ("puller", PASSWORD)).digest("library/app", "1")
        assert ((f"https://{host}", True) in asked) is sent
        assert len(asked) == (3 if sent else 1)


def test_proxies_of_the_environment_count(stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """For what lies outside, unlike Nomad and Consul."""
    monkeypatch.setenv("http_proxy", stub.address)
    stub.answers = [FOUND]
    assert client(stub, address="http://registry.test").digest("team/app", "1") == DIGEST
    assert stub.asked[0].headers["host"] == "registry.test"
