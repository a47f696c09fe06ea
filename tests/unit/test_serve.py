"""How the programs of the cluster reach Nomad and Consul, by what their jobs tell them."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from obsctl.cli.serve import serve

WARDEN = ["warden", "--stack", "obs", "--nomad", "https://nomad:4646", "--namespace", "team"]
LOG_LINKS = ["log-links", "--node", "n", "--allocations", "/a", "--alloc-id", "x", "--nomad", "https://nomad:4646"]
VARIABLES = ("CACERT", "CLIENT_CERT", "CLIENT_KEY")
ENVIRON = {
    "WARDEN_RECIPE_KEY": "key",
    "NOMAD_TOKEN": "an.identity",
    "NOMAD_REGION": "global",
    **{f"{server}_{name}": f"/{server}/{name}" for server in ("NOMAD", "CONSUL") for name in VARIABLES},
}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the warden and log-links would run with."""
    seen: list[Any] = []
    for program in ("warden", "log_links"):
        monkeypatch.setattr(f"obsctl.services.{program}.run", lambda first, *_, **__: seen.append(first))
    return seen


def run(arguments: list[str]) -> None:
    ended = CliRunner().invoke(serve, arguments, env=ENVIRON)
    assert ended.exit_code == 0, ended


def nomad_of(served: list[Any]) -> Any:
    return getattr(served[-1], "nomad", served[-1]).endpoint


def files_of(endpoint: Any) -> list[str]:
    return [endpoint.ca_file, endpoint.cert_file, endpoint.key_file]


@pytest.mark.parametrize("program", [WARDEN, LOG_LINKS])
def test_nomad_is_asked_at_its_address_where_it_could_make_no_socket(
    program: list[str], served: list[Any], tmp_path: Path
) -> None:
    run([*program, f"--nomad-socket={tmp_path / 'api.sock'}"])
    found = nomad_of(served)
    assert (found.address, found.socket, found.token) == ("https://nomad:4646", "", "an.identity")
    assert (found.ca_file, found.cert_file, found.key_file) == (
        "/NOMAD/CACERT",
        "/NOMAD/CLIENT_CERT",
        "/NOMAD/CLIENT_KEY",
    )
    assert found.params["region"] == "global"


@pytest.mark.enable_socket
@pytest.mark.parametrize("program", [WARDEN, LOG_LINKS])
def test_nomad_is_asked_by_the_socket_where_there_is_one(program: list[str], served: list[Any], tmp_path: Path) -> None:
    path = str(tmp_path / "api.sock")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path)
        run([*program, f"--nomad-socket={path}"])
    found = nomad_of(served)
    assert (found.socket, found.token, found.cert_file) == (path, "an.identity", None)


def test_consul_is_shown_the_certificate_of_the_environment(served: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    run(WARDEN)
    monkeypatch.setattr("obsctl.demo.response.run", lambda **given: served.append(given["consul"]))
    run(["response-service"])
    for found in served[0].consul.endpoint, served[1].endpoint:
        assert (found.ca_file, found.cert_file, found.key_file) == (
            "/CONSUL/CACERT",
            "/CONSUL/CLIENT_CERT",
            "/CONSUL/CLIENT_KEY",
        )
