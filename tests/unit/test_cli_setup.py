"""`obsctl setup`: what it asks first, and what it says of changes of which some were made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from obsctl.setup import consul_identity as identity
from obsctl.setup import nomad_policies
from obsctl.setup.change import mark
from tests.command import Obsctl
from tests.stub_server import Answer, StubServer, stub_server

MISSING = Answer(404, b"ACL policy not found")
REFUSED = Answer(500, b"no cluster leader")
NO_KEYS = Answer(500, b"Invalid Auth Method: error checking JWKSURL: fetching keys oidc: get keys failed: 404")
EMPTY = Answer(200, b"[]")
DONE = Answer(200, b"{}")


@pytest.fixture
def nomad() -> Iterator[StubServer]:
    with stub_server() as server:
        yield server


@pytest.fixture
def consul() -> Iterator[StubServer]:
    with stub_server() as server:
        yield server


@pytest.fixture(autouse=True)
def configured(folder: Path, nomad: StubServer, consul: StubServer) -> None:
    servers = {"nomad": {"address": nomad.address}, "consul": {"address": consul.address}}
    (folder / "obsctl.yaml").write_text(json.dumps({"stack": "obs", **servers}))


def version(text: str) -> Answer:
    return Answer(200, json.dumps({"config": {"Version": {"Version": text}}}).encode())


def writes(server: StubServer) -> list[str]:
    return [asked.path for asked in server.asked if asked.method in ("PUT", "POST")]


class TestNomadPolicies:
    def test_what_is_missing_is_made(self, obsctl: Obsctl, nomad: StubServer) -> None:
        nomad.answers = [MISSING, MISSING, DONE]
        ended = obsctl("setup", "nomad-policies", "--yes")
        assert ended.code == 0
        assert "create Nomad's policy obs-warden" in ended.out
        assert writes(nomad) == ["/v1/acl/policy/obs-warden", "/v1/acl/policy/obs-log-links"]

    def test_nothing_is_changed_where_nobody_can_be_asked(self, obsctl: Obsctl, nomad: StubServer) -> None:
        nomad.answers = [MISSING]
        ended = obsctl("setup", "nomad-policies")
        assert (ended.code, writes(nomad)) == (1, [])
        assert "nobody can be asked" in ended.err

    def test_a_failure_names_what_was_made_and_what_was_not(self, obsctl: Obsctl, nomad: StubServer) -> None:
        nomad.answers = [MISSING, MISSING, DONE, REFUSED]
        ended = obsctl("setup", "nomad-policies", "--yes")
        assert ended.code == 1
        assert "no cluster leader" in ended.err
        assert "made: Nomad's policy obs-warden\n" in ended.err
        assert "not made, or not confirmed: Nomad's policy obs-log-links\n" in ended.err

    def test_an_interrupt_names_it_too(
        self, obsctl: Obsctl, nomad: StubServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        nomad.answers = [MISSING]
        monkeypatch.setattr(nomad_policies.NomadAcl, "put_policy", interrupt)
        ended = obsctl("setup", "nomad-policies", "--yes")
        assert ended.code == 130
        assert "made: nothing\n" in ended.err
        assert "not made, or not confirmed: Nomad's policy obs-warden, Nomad's policy obs-log-links" in ended.err
        assert "run the command again" in ended.err

    def test_what_somebody_else_made_stays(self, obsctl: Obsctl, nomad: StubServer) -> None:
        foreign = {"Name": "obs-warden", "Description": "somebody's"}
        nomad.answers = [Answer(200, json.dumps(foreign).encode())]
        ended = obsctl("setup", "nomad-policies", "--yes")
        assert (ended.code, writes(nomad)) == (1, [])
        assert mark("obs", "warden") in ended.err

    def test_a_token_that_is_no_reference(self, obsctl: Obsctl) -> None:
        ended = obsctl("setup", "nomad-policies", "--token", "secret")
        assert ended.code == 2
        assert "--token" in ended.err


class TestConsulIdentity:
    def test_an_old_nomad_is_said_before_anything_is_made(
        self, obsctl: Obsctl, nomad: StubServer, consul: StubServer
    ) -> None:
        nomad.answers = [version("1.6.1")]
        ended = obsctl("setup", "consul-identity", "--yes")
        assert (ended.code, consul.asked) == (1, [])
        assert "need Nomad 1.7 or newer, and this is 1.6.1" in ended.err
        assert "consul.tokens" in ended.err

    def test_keys_that_consul_cannot_fetch(self, obsctl: Obsctl, nomad: StubServer, consul: StubServer) -> None:
        """Also where the token may not see Nomad's version."""
        nomad.answers = [Answer(403, b"Permission denied")]
        consul.answers = [EMPTY] * 17 + [NO_KEYS]
        ended = obsctl("setup", "consul-identity", "--yes")
        assert ended.code == 1
        assert f"Consul cannot fetch the keys of Nomad's signatures at {nomad.address}/" in ended.err
        assert "--jwks-url" in ended.err
        assert "from 1.7 on" in ended.err
        assert "made: nothing\n" in ended.err

    def test_nobody_needs_a_token_of_nomad_for_it(
        self, folder: Path, obsctl: Obsctl, nomad: StubServer, consul: StubServer
    ) -> None:
        servers = {"nomad": {"address": nomad.address, "token": "env:NOT_SET"}, "consul": {"address": consul.address}}
        (folder / "obsctl.yaml").write_text(json.dumps({"stack": "obs", **servers}))
        nomad.answers, consul.answers = [Answer(403, b"Permission denied")], [EMPTY]
        assert obsctl("setup", "consul-identity", "--yes").code == 0

    def test_a_newer_one(self, obsctl: Obsctl, nomad: StubServer, consul: StubServer) -> None:
        nomad.answers, consul.answers = [version("1.7.0")], [EMPTY]
        ended = obsctl("setup", "consul-identity", "--yes")
        assert ended.code == 0
        assert "create Consul's auth method nomad-workloads" in ended.out
        assert "/v1/acl/auth-method" in writes(consul)

    def test_a_change_of_the_login_that_stacks_share_is_told_and_takes_nothing_away(
        self, obsctl: Obsctl, nomad: StubServer, consul: StubServer
    ) -> None:
        nomad.answers = [version("1.7.0")]
        config = {
            "JWKSURL": "https://old.example.org/keys", "BoundAudiences": ["other"], "JWTSupportedAlgs": ["EdDSA"],
            "ClaimMappings": {"nomad_job_id": "nomad_job_id", "team": "team"}, "ClockSkewLeeway": 9,
        }  # fmt: skip
        method = {
            "Name": identity.METHOD,
            "Description": identity.METHOD_TEXT,
            "MaxTokenTTL": "1h0m0s",
            "Config": config,
        }
        listed, whole = Answer(200, json.dumps([method]).encode()), Answer(200, json.dumps(method).encode())
        consul.answers = [listed, whole, *[EMPTY] * 15, listed, whole, EMPTY]
        ended = obsctl("setup", "consul-identity", "--yes")
        said = f"JWKSURL: https://old.example.org/keys becomes {nomad.address}/.well-known/jwks.json\n"
        assert f"update Consul's auth method nomad-workloads\n    {said}" in ended.out
        put = next(
            asked for asked in consul.asked if asked.path == "/v1/acl/auth-method/nomad-workloads" and asked.body
        )
        sent = json.loads(put.body)
        assert (sent["MaxTokenTTL"], sent["Config"]["ClockSkewLeeway"]) == ("1h0m0s", 9)
        assert sent["Config"]["BoundAudiences"] == ["other", identity.AUDIENCE]
        assert sent["Config"]["JWTSupportedAlgs"] == ["EdDSA"]
        assert set(sent["Config"]["ClaimMappings"]) == {"team", *identity.CLAIMS}
