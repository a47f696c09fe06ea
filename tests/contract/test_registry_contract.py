"""What an image registry tells: a fake one, and a real one that is open, wants a password, or wants a token."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from obsctl.clients import connect
from obsctl.clients.protocols import RegistryApi
from obsctl.config.api_servers import Images
from obsctl.errors import ApiError, Forbidden, NotFound, Rejected, Unreachable
from tests.fakes import FakeRegistry
from tests.image_registry import PASSWORD, USER, TokenGiver, image_registry, with_password
from tests.ports import free_port
from tests.stub_server import Answer, stub_server


@dataclass(frozen=True)
class Subject:
    """A registry, and the digest of its only image, team/app:1."""

    api: RegistryApi
    digest: str


def images(host: str, *, login: bool = False, token_server: str | None = None) -> Images:
    known = {"username": USER, "password": "env:X"} if login else {}
    return Images.model_validate({"registry": host, "token_server": token_server, **known})


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.real)])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "fake":
        digest = f"sha256:{'0' * 64}"
        yield Subject(FakeRegistry({"team/app:1": digest}), digest)
        return
    with image_registry(tmp_path) as registry:
        digest = registry.push("team/app", "1")
        yield Subject(connect.registry(registry.host, images(registry.host)), digest)


def test_what_a_tag_means(subject: Subject) -> None:
    assert subject.api.digest("team/app", "1") == subject.digest


@pytest.mark.parametrize(("repository", "tag"), [("team/app", "2"), ("team/other", "1")])
def test_an_image_that_is_not_there(subject: Subject, repository: str, tag: str) -> None:
    with pytest.raises(NotFound, match=f"has no image {repository}:{tag}") as caught:
        subject.api.digest(repository, tag)
    assert "check the image's name and tag" in caught.value.hint


@pytest.mark.real
def test_of_several_platforms_it_is_the_index(tmp_path: Path) -> None:
    with image_registry(tmp_path) as registry:
        digest = registry.push("team/app", "1", architectures=("amd64", "arm64"))
        assert connect.registry(registry.host, Images()).digest("team/app", "1") == digest


@pytest.mark.real
def test_a_registry_that_wants_a_password(tmp_path: Path) -> None:
    with image_registry(tmp_path, with_password(tmp_path)) as registry:
        registry.session.auth = (USER, PASSWORD)
        digest = registry.push("team/app", "1")
        mirror = images(registry.host, login=True)
        assert connect.registry(registry.host, mirror, password=PASSWORD).digest("team/app", "1") == digest
        with pytest.raises(Forbidden, match=r"does not give team/app:1 without a login"):
            connect.registry(registry.host, images(registry.host)).digest("team/app", "1")
        with pytest.raises(Forbidden, match=r"does not give team/app:1 with this login") as caught:
            connect.registry(registry.host, mirror, password="wr0ng").digest("team/app", "1")
    assert "wr0ng" not in caught.value.message + caught.value.hint


@pytest.mark.real
def test_a_registry_that_wants_a_token(tmp_path: Path) -> None:
    """As Docker Hub: the first answer says who gives a token, and for what to ask."""
    giver = TokenGiver(tmp_path)
    with stub_server() as tokens, image_registry(tmp_path, giver.auth(f"{tokens.address}/token")) as registry:
        registry.session.auth = bearer(giver.token("team/app", "pull", "push"))
        digest = registry.push("team/app", "1")
        tokens.answers = [Answer(body=b'{"token": "' + giver.token("team/app", "pull").encode() + b'"}')]
        api = connect.registry(registry.host, images(registry.host, login=True), password=PASSWORD)
        with pytest.raises(Rejected, match="refers to another server, 127"):
            api.digest("team/app", "1")
        assert tokens.asked == []
        settings = images(registry.host, login=True, token_server=tokens.address.removeprefix("http://"))
        api = connect.registry(registry.host, settings, password=PASSWORD)
        assert api.digest("team/app", "1") == digest
        [asked] = tokens.asked
        assert (asked.path, asked.params) == ("/token", {"service": giver.service, "scope": "repository:team/app:pull"})
        assert asked.headers["authorization"] == f"Basic {b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
        with pytest.raises(Forbidden, match=r"does not give team/other:1 with this login"):
            api.digest("team/other", "1")


def bearer(token: str) -> requests.auth.AuthBase:
    class Bearer(requests.auth.AuthBase):
        def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers["Authorization"] = f"Bearer {token}"
            return request

    return Bearer()


def test_a_registry_that_is_not_there() -> None:
    with pytest.raises(Unreachable, match="Connection refused") as caught:
        connect.registry(f"127.0.0.1:{free_port()}", Images()).digest("team/app", "1")
    assert isinstance(caught.value, ApiError)
    assert "images.registry" in caught.value.hint
