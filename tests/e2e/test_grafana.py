"""Grafana's job on real Nomad and Consul, with a stand-in for the program: its files, settings and secrets arrive.

tests/grafana_stand_in.py says how it finds them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import requests
import yaml

from obsctl.clients.instances import url
from obsctl.stack.render import render
from obsctl.wait import wait_until
from tests import grafana_stand_in
from tests.deployed import Stack, write_config
from tests.local_cluster import running_cluster
from tests.world import ALERT_PATH

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("grafana")]
VARIABLE = "nomad/jobs/obs-grafana"
PLUGIN = "victoriametrics-logs-datasource"
OWN = "dashboards/My team (own)/mine.json"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_cluster() as cluster:
        stack = Stack(cluster, tmp_path_factory.mktemp("stack"))
        write_config(stack.folder, cluster, components=(*ALERT_PATH, "victorialogs", "grafana"), demo=())
        change(stack, command=str(Path(grafana_stand_in.__file__)))
        own(stack, title="Mine {{ $labels.job }} ${HOME} %{x}")
        stack.run("deploy", "--yes")
        yield stack


def change(stack: Stack, **keys: Any) -> None:
    file = stack.folder / "obsctl.yaml"
    written = json.loads(file.read_text())
    written["components"]["grafana"] |= keys
    file.write_text(json.dumps(written))


def own(stack: Stack, *, title: str) -> None:
    file = stack.folder / OWN
    file.parent.mkdir(parents=True, exist_ok=True)
    shipped = next(board for board in boards(stack).values() if "panels" in board)
    file.write_text(json.dumps({**json.loads(shipped), "uid": "mine", "title": title}))


def boards(stack: Stack) -> dict[str, str]:
    """File below the folder of dashboards -> its text, as rendered."""
    rendered = render(stack.loaded.config, stack.folder)
    prefix = "obsctl/obs/dashboards/"
    found = {item.key.removeprefix(prefix): item.value for item in rendered.content if item.key.startswith(prefix)}
    return {f"{unquote(key.replace('=', '%'))}.json": text for key, text in found.items()}


def seen(stack: Stack) -> dict[str, Any]:
    """What the stand-in has found."""
    [entry] = stack.clients.consul.health("grafana")
    return dict(requests.get(f"{url(entry)}/stand-in", timeout=10).json())


def password(stack: Stack) -> str:
    variable = stack.clients.nomad.variable(VARIABLE)
    assert variable is not None
    return variable.items["admin_password"]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_provisioning_files_are_where_grafana_looks(stack: Stack) -> None:
    content = {item.key: item.value for item in render(stack.loaded.config, stack.folder).content}
    assert seen(stack)["provisioning"] == {
        "datasources/obsctl.yml": content["obsctl/obs/config/datasources.yml"],
        "dashboards/obsctl.yml": content["obsctl/obs/config/dashboards.yml"],
    }


def test_every_dashboard_arrives_in_its_folder_as_it_is(stack: Stack) -> None:
    """Nomad's templates hold braces of their own, and Grafana's dashboards are full of them."""
    found = seen(stack)["dashboards"]
    assert found == boards(stack)
    assert json.loads(found[OWN.removeprefix("dashboards/")])["title"] == "Mine {{ $labels.job }} ${HOME} %{x}"


def test_the_settings_are_those_of_obsctl_yaml(stack: Stack) -> None:
    found = seen(stack)
    settings, [entry] = found["settings"], stack.clients.consul.health("grafana")
    assert f"http://{settings['server.http_addr']}:{settings['server.http_port']}" == url(entry)
    assert settings["server.root_url"] == f"{url(entry)}/"
    assert settings["auth.anonymous.enabled"] == "false"
    home = Path(settings["dashboards.default_home_dashboard_path"])
    assert home.parts[-3:] == ("dashboards", "Stack", "obsctl-overview.json")
    assert home.is_file()
    assert found["data_is_writable"]
    assert found["arguments"][0] == "server"


def test_the_datasources_are_found_in_consul(stack: Stack) -> None:
    [prometheus] = stack.clients.consul.health("prometheus")
    [alertmanager] = stack.clients.consul.health("alertmanager")
    found = seen(stack)
    [logs] = stack.clients.consul.health("victorialogs")
    assert found["urls"] == {
        "PROMETHEUS_URL": url(prometheus),
        "ALERTMANAGER_URL": url(alertmanager),
        "VICTORIALOGS_URL": url(logs),
    }
    datasources = yaml.safe_load(found["provisioning"]["datasources/obsctl.yml"])["datasources"]
    assert {datasource["url"].removeprefix("$") for datasource in datasources} == set(found["urls"])


def log_plugin(stack: Stack) -> list[str]:
    """What doctor says of it."""
    found = stack.json("doctor", code=None)["findings"]
    return [finding["what"] for finding in found if finding["where"] in ("obs-grafana", "log plugin")]


def test_grafana_is_told_to_fetch_its_plugin_or_where_it_is(stack: Stack, tmp_path: Path) -> None:
    assert seen(stack)["settings"]["plugins.preinstall"].startswith(f"{PLUGIN}@")
    assert log_plugin(stack) == [f"runs without the plugin {PLUGIN}, so it shows no logs"]
    place(tmp_path)
    change(stack, plugins_dir=str(tmp_path))
    stack.run("deploy", "--yes")
    found = seen(stack)["settings"]
    assert found["paths.plugins"] == str(tmp_path)
    assert (found["plugins.preinstall_disabled"], found.get("plugins.preinstall")) == ("true", None)
    assert log_plugin(stack) == ["Grafana has the plugin that reads logs, or does not need it"]


def place(folder: Path) -> None:
    """Of the plugin what Grafana looks for first."""
    (folder / PLUGIN).mkdir()
    (folder / PLUGIN / "plugin.json").write_text(json.dumps({"id": PLUGIN}))


def test_the_generated_secrets_arrive_as_files(stack: Stack) -> None:
    variable = stack.clients.nomad.variable(VARIABLE)
    assert variable is not None
    found = seen(stack)
    hashes = {key.removeprefix("security."): value for key, value in found["sha256"].items()}
    assert hashes == {name: sha256(value) for name, value in variable.items.items()}
    assert set(found["secret_modes"].values()) == {"0o400"}


def test_the_password_is_shown_to_those_who_ask_and_nowhere_else(stack: Stack) -> None:
    assert stack.run("secrets", "show", "grafana-admin").stdout == password(stack) + "\n"
    nomad = stack.clients.nomad
    [alloc] = [alloc for alloc in nomad.job_allocations("obs-grafana") if alloc["ClientStatus"] == "running"]
    logs = [nomad.task_logs(alloc["ID"], "grafana", stream=stream) for stream in ("stdout", "stderr")]
    kept = [nomad.job("obs-grafana"), nomad.allocation(alloc["ID"]), stack.cluster.consul.entries("")]
    assert "has started" in logs[0]
    assert password(stack) not in str([logs, kept, stack.run("-v", "plan").stdout])


def test_it_is_scraped(stack: Stack) -> None:
    def up() -> bool:
        return bool(stack.programs.prometheus.query('grafana_build_info{job="grafana"}'))

    wait_until(up, timeout=30, failure="no sign of a scrape of grafana", hint="")


def test_a_changed_dashboard_restarts_nothing(stack: Stack) -> None:
    before = seen(stack)["pid"]
    own(stack, title="Changed")
    assert stack.json("deploy", "--yes")["changes"] == ["obsctl/obs/dashboards/My team =28own=29/mine"]
    name = OWN.removeprefix("dashboards/")
    wait_until(
        lambda: '"Changed"' in seen(stack)["dashboards"][name],
        timeout=30,
        failure="no sign of the changed file",
        hint="",
    )
    assert seen(stack)["pid"] == before


@pytest.mark.campaign
def test_a_backend_that_moves_is_followed_and_one_that_is_away_for_a_moment_restarts_nothing(stack: Stack) -> None:
    before, nomad, session = seen(stack), stack.clients.nomad, stack.cluster.consul.session
    nomad.stop_job("obs-alertmanager")
    wait_until(
        lambda: not stack.clients.consul.health("alertmanager"), timeout=60, failure="no sign of its end", hint=""
    )
    stack.run("deploy", "--yes")
    assert seen(stack)["pid"] == before["pid"]
    nomad.stop_job("obs-alertmanager")
    wait_until(
        lambda: not stack.clients.consul.health("alertmanager"), timeout=60, failure="no sign of its end", hint=""
    )
    elsewhere = {"ID": "elsewhere", "Name": "alertmanager", "Address": "127.0.0.2", "Port": 9999,
                 "Meta": {"obsctl_stack": "obs"}}  # fmt: skip
    session.put("/v1/agent/service/register", json=elsewhere)
    try:
        wait_until(
            lambda: moved(stack, "http://127.0.0.2:9999"), timeout=120, failure="no sign of the new address", hint=""
        )
    finally:
        session.put("/v1/agent/service/deregister/elsewhere")
    stack.run("deploy", "--yes")
    wait_until(
        lambda: moved(stack, before["urls"]["ALERTMANAGER_URL"]),
        timeout=120,
        failure="no sign of its old place",
        hint="",
    )


def moved(stack: Stack, alertmanager: str) -> bool:
    try:
        return bool(seen(stack)["urls"]["ALERTMANAGER_URL"] == alertmanager)
    except requests.RequestException:
        return False  # it restarts


def test_a_dashboard_that_is_taken_away_is_gone_and_the_password_stays(stack: Stack) -> None:
    first = password(stack)
    shutil.rmtree((stack.folder / OWN).parent)
    change(stack, anonymous=True)
    changes = stack.json("deploy", "--yes")["changes"]
    assert "obsctl/obs/dashboards/My team =28own=29/mine" in changes
    assert VARIABLE not in changes
    found = seen(stack)
    assert found["dashboards"] == boards(stack)
    assert found["settings"]["auth.anonymous.enabled"] == "true"
    assert password(stack) == first
    assert found["sha256"]["security.admin_password"] == sha256(first)
    assert stack.json("plan")["counts"]["none"] == len(stack.json("plan")["changes"])
