"""init, config show, config schema, and the files that ship with them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result

from obsctl.cli.config import config, init
from obsctl.cli.root import cli
from obsctl.config import keys
from obsctl.config.example import EXAMPLE
from obsctl.config.load import load
from obsctl.config.schema import Config
from obsctl.errors import ObsctlError

ROOT = Path(__file__).parents[2]
UNCOMMENTED = re.sub(r"^(\s*)#(?=\S)", r"\1", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and none of the caller's own settings."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OBSCTL_")]:
        monkeypatch.delenv(name)
    return tmp_path


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, list(arguments), standalone_mode=False)
    if result.exception:
        raise result.exception
    return result


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


# init


def test_init_writes_the_example_and_says_what_is_next(folder: Path) -> None:
    result = run("init")
    assert (folder / "obsctl.yaml").read_bytes() == EXAMPLE.read_bytes()
    assert "obsctl validate" in result.stdout
    assert names(folder) == ["obsctl.yaml"]


def test_init_makes_the_folder(folder: Path) -> None:
    result = run("--json", "init", "a/b")
    assert json.loads(result.stdout) == {"schema": "obsctl/init/v1", "path": "a/b/obsctl.yaml"}
    assert (folder / "a/b/obsctl.yaml").exists()


@pytest.mark.parametrize("kind", ["file", "empty file", "dangling link", "folder"])
def test_init_never_writes_over_anything(folder: Path, kind: str) -> None:
    target = folder / "obsctl.yaml"
    if kind == "dangling link":
        target.symlink_to("nowhere")
    elif kind == "folder":
        target.mkdir()
    else:
        target.write_text("mine" if kind == "file" else "")
    before = target.lstat()
    with pytest.raises(ObsctlError, match="is there already; nothing was changed") as caught:
        run("init")
    assert caught.value.exit_code == 1
    assert target.lstat() == before
    assert names(folder) == ["obsctl.yaml"]


def test_init_into_what_is_no_folder(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(ObsctlError, match="file is a file, not a folder"):
        run("init", "file")
    with pytest.raises(ObsctlError, match="cannot be written: Not a directory"):
        run("init", "file/below")


def test_a_disk_that_is_full_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ObsctlError, match="No space left on device"):
        run("init")
    assert names(folder) == []


# The example


def test_the_example_loads_as_it_is(folder: Path) -> None:
    run("init")
    assert load(environ={}, cwd=folder).config == Config()


@pytest.mark.parametrize("store", ["components.victorialogs", "logs.endpoint"])
def test_the_example_loads_with_every_key_uncommented(store: str, folder: Path) -> None:
    """With one of the two log stores."""
    document = yaml.safe_load(UNCOMMENTED)
    if store == "logs.endpoint":
        del document["components"]["victorialogs"]
    else:
        for key in ("endpoint", "headers", "grafana_datasource"):
            del document["logs"][key]
    (folder / "obsctl.yaml").write_text(yaml.safe_dump(document))
    loaded = load(environ={}, cwd=folder)
    assert [receiver.name for receiver in loaded.config.alerting.receivers] == ["on-call"]


def test_the_example_explains_every_key() -> None:
    document = yaml.safe_load(UNCOMMENTED)
    missing = [".".join(path) for path in keys.paths() if not holds(document, explained_at(path))]
    assert missing == []


def test_the_example_shows_the_defaults() -> None:
    shown, default = yaml.safe_load(UNCOMMENTED), json.loads(run("--json", "config", "show").stdout)["config"]
    different = {
        path: value
        for path, value in flat(default).items()
        if "placement" not in path and flat(shown).get(path, "absent") != value
    }
    assert set(different) <= {
        "images",
        "nomad.tokens",
        "nomad.tls.programs",
        "consul.tokens",
        "consul.tls.programs",
        "services",
        "logs.headers",
        "logs.redact",
        "alerting.heartbeat",
        "alerting.receivers",
        "alerting.rules",
        "alerting.rule_files",
        "alerting.time_intervals",
        "components.alert-sink.hosts",
        "servers",
    }


def explained_at(path: tuple[str, ...]) -> tuple[str, ...]:
    """Where a component may run is told once, for the whole stack."""
    return ("nomad", *path[path.index("placement") :]) if "placement" in path else path


def holds(document: Any, path: tuple[str, ...]) -> bool:
    for step in path:
        if step == keys.ANY:
            document = next(iter(document.values() if isinstance(document, dict) else document), None)
        elif isinstance(document, dict) and step in document:
            document = document[step]
        else:
            return False
    return document is not None


def flat(document: dict[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in document.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) and value else {f"{above}{key}": value}
    return found


# show


def test_show_says_where_it_comes_from_and_loads_again(folder: Path) -> None:
    (folder / "obsctl.yaml").write_text("stack: mine\nnomad: {token: env:NOMAD_TOKEN}\ntiming: fast\n")
    shown = run("config", "show").stdout
    assert shown.startswith("# from obsctl.yaml\nstack: mine\n")
    assert "token: env:NOMAD_TOKEN" in shown
    assert "retention: 15d" in shown
    first = load(environ={}, cwd=folder).config
    (folder / "obsctl.yaml").write_text(shown)
    assert load(environ={}, cwd=folder).config == first


def test_show_as_json(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBSCTL_STACK", "mine")
    found = json.loads(run("--json", "config", "show").stdout)
    assert (found["schema"], found["sources"]) == ("obsctl/config/v1", ["the defaults", "OBSCTL_STACK"])
    assert (found["config"]["stack"], found["config"]["timing"]["for"]) == ("mine", "2m")


# schema


def test_the_schema_is_a_2020_12_schema_with_words_for_every_key() -> None:
    schema = json.loads(run("config", "schema").stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].startswith("urn:obsctl:")
    mute = [
        f"{name}.{key}"
        for name, section in {"": schema, **schema["$defs"]}.items()
        for key, field in section.get("properties", {}).items()
        if not (field.get("description") or described(schema, field))
    ]
    assert mute == []


def described(schema: dict[str, Any], field: dict[str, Any]) -> bool:
    return bool(schema["$defs"].get(field.get("$ref", "").removeprefix("#/$defs/"), {}).get("description"))


def test_the_schema_knows_both_forms_of_timing_and_requires_no_value_of_it() -> None:
    name, mapping = json.loads(run("config", "schema").stdout)["$defs"]["Timing"]["anyOf"]
    assert name == {"type": "string", "enum": ["fast", "standard", "relaxed"]}
    assert "for" in mapping["properties"]
    assert "required" not in mapping


def test_the_schema_has_the_keys_as_they_are_written_and_durations_as_text() -> None:
    schema = json.loads(run("config", "schema").stdout)
    assert "alert-sink" in schema["$defs"]["Components"]["properties"]
    timeout = schema["$defs"]["NomadServer"]["properties"]["timeout"]
    assert (timeout["type"], timeout["default"]) == ("string", "10s")
    for written in ("10s", "1h30m", "250ms"):
        assert re.search(timeout["pattern"], written)
    for wrong in ("10", "s", "1m1h"):
        assert not re.search(timeout["pattern"], wrong)


def test_the_schema_as_one_json_document() -> None:
    assert json.loads(run("--json", "config", "schema").stdout)["json_schema"]["title"] == "obsctl.yaml"


# The rest


def test_the_project_s_own_file_is_the_demo(folder: Path) -> None:
    loaded = load(ROOT / "obsctl.yaml", environ={}, cwd=folder)
    found = loaded.config
    assert (found.stack, str(found.driver), str(found.timing.profile)) == ("obs", "raw_exec", "fast")
    assert found.demo.enabled
    assert (found.nomad, found.consul) == (Config().nomad, Config().consul)


@pytest.mark.parametrize("command", [init, config, *config.commands.values()], ids=lambda command: command.name)
def test_every_command_has_help_with_an_example(command: click.Command) -> None:
    assert "Example: obsctl " in (command.help or "")


def test_help_does_not_import_pydantic() -> None:
    program = "import sys; from obsctl.cli.root import cli; cli(['--help'], standalone_mode=False); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "obsctl.cli.root" in shown
    assert "pydantic" not in shown
    assert "yaml" not in shown.split()
