"""OBSCTL_* variables over the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from obsctl.cli.root import cli
from obsctl.config import keys
from obsctl.config.environment import variable_of
from obsctl.config.load import ConfigError, load
from obsctl.config.schema import Config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(folder: Path, environ: dict[str, str], text: str = "") -> Config:
    (folder / "obsctl.yaml").write_text(text, encoding="utf-8")
    return load(environ=environ, cwd=folder).config


def faults(folder: Path, environ: dict[str, str], text: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, environ, text)
    return [f"{finding.where}: {finding.what}" for finding in caught.value.findings]


def test_a_variable_wins_over_the_file(folder: Path) -> None:
    found = read(folder, {"OBSCTL_NOMAD__ADDRESS": "http://127.0.0.1:1"}, "nomad: {address: 'http://x', namespace: n}")
    assert (found.nomad.address, found.nomad.namespace) == ("http://127.0.0.1:1", "n")


@pytest.mark.parametrize(
    ("variable", "value", "path", "expected"),
    [
        ("OBSCTL_STACK", "mine", "stack", "mine"),
        ("OBSCTL_STACK", "123", "stack", "123"),  # text stays text
        ("OBSCTL_NOMAD__REGION", "no", "nomad.region", "no"),
        ("OBSCTL_DRIVER", "raw_exec", "driver", "raw_exec"),
        ("OBSCTL_TIMING", "fast", "timing.pending", 10),
        ("OBSCTL_TIMING__FOR", "30s", "timing.pending", 30),
        ("OBSCTL_COMPONENTS__ALERT_SINK__PORT", "8100", "components.alert_sink.port", 8100),
        ("OBSCTL_DEMO__HELLO_SERVICE__ENABLED", "false", "demo.hello_service.enabled", False),
        ("OBSCTL_NOMAD__TLS__VERIFY", "false", "nomad.tls.verify", False),
        ("OBSCTL_NOMAD__DATACENTERS", "[a, b]", "nomad.datacenters", ("a", "b")),
        ("OBSCTL_NOMAD__TOKEN", "env:NOMAD_TOKEN", "nomad.token", "env:NOMAD_TOKEN"),
        ("OBSCTL_DEMO__REQUESTS_PER_SECOND", "2", "demo.requests_per_second", 2),
    ],
)
def test_keys_and_values(folder: Path, variable: str, value: str, path: str, expected: object) -> None:
    found: object = read(folder, {variable: value})
    for step in path.split("."):
        found = getattr(found, step)
    assert found == expected


def test_free_keys_are_those_of_the_file_or_new_ones(folder: Path) -> None:
    environ = {"OBSCTL_SERVICES__CHECK_OUT__JOB": "shop", "OBSCTL_SERVERS__NOMAD": "/opt/nomad"}
    found = read(folder, {**environ, "OBSCTL_SERVICES__NEW_ONE__JOB": "x"}, "services: {Check-Out: {severity: low}}")
    check_out = found.services["Check-Out"]
    assert (check_out.job, check_out.severity) == ("shop", "low")
    assert found.services["new-one"].job == "x"
    assert found.servers == {"nomad": "/opt/nomad"}


def test_an_empty_variable_is_as_good_as_none(folder: Path) -> None:
    assert read(folder, {"OBSCTL_STACK": "", "OBSCTL_NOMAD__ADRESS": ""}) == Config()


def test_other_variables_are_left_alone(folder: Path) -> None:
    others = ["CONFIG", "ENV", "JSON", "VERBOSE", "QUIET", "NO_COLOR", "DEV_STATE_DIR", "RELEASES_HASHICORP", "PORT"]
    assert read(folder, {**{f"OBSCTL_{name}": "1" for name in others}, "STACK": "x", "NOMAD__ADDRESS": "y"}) == Config()


def test_no_global_option_s_variable_is_also_a_key_s() -> None:
    options = {name for option in cli.params if isinstance(names := option.envvar, str) for name in [names]}
    assert options
    assert not options & {variable_of(path) for path in keys.paths()}


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("OBSCTL_NOMAD__ADRESS", "OBSCTL_NOMAD__ADRESS: matches no key, did you mean OBSCTL_NOMAD__ADDRESS?"),
        ("OBSCTL_NOMAD_ADDRESS", "OBSCTL_NOMAD_ADDRESS: sets nothing, did you mean OBSCTL_NOMAD__ADDRESS?"),
        ("OBSCTL_ZZZZ__QQQQ", "OBSCTL_ZZZZ__QQQQ: matches no key"),
        ("OBSCTL_ALERTING__RECEIVERS__0__NAME", "OBSCTL_ALERTING__RECEIVERS__0__NAME: matches no key"),
        ("OBSCTL_NOMAD__ADDRESS__HOST", "OBSCTL_NOMAD__ADDRESS__HOST: matches no key"),
        ("OBSCTL_NOMAD__", "OBSCTL_NOMAD__: matches no key"),
    ],
)
def test_a_mistyped_variable_is_a_fault(folder: Path, variable: str, said: str) -> None:
    (found,) = faults(folder, {variable: "1"})
    assert found.startswith(said)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OBSCTL_COMPONENTS__PROMETHEUS__PORT", "70000", "must be at most 65535"),
        ("OBSCTL_COMPONENTS__PROMETHEUS__PORT", "[", "is not YAML"),
        ("OBSCTL_NOMAD__TIMEOUT", "30", "write a duration with its unit"),
        ("OBSCTL_NOMAD__TOKEN", "5ecre7", "a secret does not belong here"),
        ("OBSCTL_NOMAD", "{adress: x}", 'unknown key, did you mean "address"?'),
    ],
)
def test_a_wrong_value_is_reported_under_the_variable_s_name(
    folder: Path, variable: str, value: str, said: str
) -> None:
    (found,) = faults(folder, {variable: value})
    assert found.startswith(f"{variable}: {said}")
    assert "5ecre7" not in found


def test_faults_of_file_and_environment_come_together(folder: Path) -> None:
    assert len(faults(folder, {"OBSCTL_DRIVER": "lxc", "OBSCTL_A__B": "1"}, "stack: A\nstak: b")) == 4
