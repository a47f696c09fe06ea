"""A secret that stands where none belongs is never repeated: not in a message, and not in a hint."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from obsctl.config import environment, keys
from obsctl.config.load import load
from obsctl.config.secrets import SecretRef, resolve
from obsctl.errors import ObsctlError
from tests.command import Obsctl

SECRETS = [
    "hvs.CAESIJ3x9Q-7f",
    "5ecf7a10-0000-4000-8000-c0ffee5ec4e7",
    "http://admin:hunter2-9f8e7d6c@10.0.0.1:8500",
    "https://hooks.example.org/services/T0001/B0002/xxYYzz334455",
    "${x}%{y}{{z}}-77aa88bb99",
    "a 'quoted\" 12345678 secret\nof two lines",
    "*alias-99887766",
    "!tag-55443322",
]
PATHS = sorted({tuple("words" if step == keys.ANY else step for step in path) for path in keys.paths()})
FORMS = [
    lambda secret: secret,
    lambda secret: [secret],
    lambda secret: {secret: secret},
    lambda secret: {"name": secret, "url": secret, "profile": secret},
    lambda secret: [{secret: None}],
]


def document(path: tuple[str, ...], value: object) -> object:
    for step in reversed(path):
        value = {step: value}
    return value


def refusal(folder: Path, **environ: str) -> str:
    """What is said of the configuration; "" when it is taken as it is."""
    try:
        load(cwd=folder, environ=environ)
    except ObsctlError as error:
        return f"{error.message}\n{error.hint}\n{error!r}\n{error.__cause__ or ''}\n{error.__context__ or ''}"
    return ""


@pytest.mark.parametrize("secret", SECRETS)
@given(path=st.sampled_from(PATHS), form=st.sampled_from(FORMS))
@settings(deadline=None, max_examples=60)
def test_at_any_key_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, secret: str, path: tuple[str, ...], form: object
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    (folder / "obsctl.yaml").write_text(yaml.safe_dump(document(path, form(secret)), allow_unicode=True))
    assert secret not in refusal(folder)


@pytest.mark.parametrize("secret", SECRETS[1:3])
@pytest.mark.parametrize("path", [path for path in PATHS if "words" not in path and len(path) > 1])
def test_in_any_variable(tmp_path: Path, secret: str, path: tuple[str, ...]) -> None:
    assert secret not in refusal(tmp_path, **{environment.variable_of(path): secret})


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("text", ["%s", "%s: 1", "? %s\n: 1", "- %s", "stack: &%s a", "stack: *%s", "stack: !%s a",
                                  "stack: '%s", "stack: obs\n  %s: x", "a: {%s", "%%%s", "<<: %s"])  # fmt: skip
def test_in_what_is_no_configuration_at_all(tmp_path: Path, secret: str, text: str) -> None:
    (tmp_path / "obsctl.yaml").write_text(text % secret)
    assert secret not in refusal(tmp_path)


def test_in_the_place_of_the_name_of_a_variable() -> None:
    with pytest.raises(ObsctlError) as caught:
        resolve(SecretRef.parse("env:xoxbA1b2C3d4"), key="nomad.token", environ={}, read_variable=lambda _: None)
    assert "xoxb" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("variable", ["CONSUL_HTTP_ADDR", "NOMAD_ADDR"])
@pytest.mark.parametrize(
    "value", ["http://admin:hunter2-9f8e7d6c@10.0.0.1:8500", "admin:hunter2-9f8e7d6c@10.0.0.1:8500"]
)
def test_in_the_address_of_a_server_for_a_program_of_the_cluster(
    obsctl: Obsctl, folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    command = ["hello-service"] if variable == "CONSUL_HTTP_ADDR" else ["warden", "--stack", "obs"]
    ran = obsctl("serve", *command, "--port", "0")
    assert ran.code == 2
    assert value not in ran.out + ran.err
    assert "no user" in ran.err
