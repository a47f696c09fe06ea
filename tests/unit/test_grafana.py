"""What Grafana is given: settings, datasources that lead to each other, dashboards in folders.

The models hold the keys that Grafana 13 knows, from its documentation and from its sources where that is silent
(pkg/services/provisioning, and the options of each datasource): Grafana itself ignores a key that it does not know.
"""

from __future__ import annotations

import configparser
import itertools
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import promql_parser
import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from obsctl.assets import shipped
from obsctl.stack.render import Rendered, render
from tests.world import NOWHERE, config, grafana_datasources

BACKENDS = ("prometheus", "alertmanager", "loki", "jaeger")
Uid = Literal["prometheus", "alertmanager", "loki", "jaeger"]
Shift = Annotated[str, Field(pattern=r"^-?\d+[smh]$")]


class Known(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Exemplar(Known):
    name: Literal["trace_id"]  # the label that the demo and the collector give their exemplars
    datasourceUid: Literal["jaeger"]
    urlDisplayLabel: str


class PrometheusData(Known):
    httpMethod: Literal["POST"]
    prometheusType: Literal["Prometheus"]
    timeInterval: str
    manageAlerts: bool
    alertmanagerUid: Literal["alertmanager"] | None = None
    exemplarTraceIdDestinations: list[Exemplar] = []


class AlertmanagerData(Known):
    implementation: Literal["prometheus"]
    handleGrafanaManagedAlerts: Literal[False]


class DerivedField(Known):
    name: str
    matcherType: Literal["label", "regex"]
    matcherRegex: str
    datasourceUid: Literal["jaeger"]
    url: Literal["${__value.raw}"]


class LokiData(Known):
    maxLines: int
    derivedFields: list[DerivedField] = []


class NodeGraph(Known):
    enabled: bool


class ToLogs(Known):
    datasourceUid: Literal["loki"]
    spanStartTimeShift: Shift
    spanEndTimeShift: Shift
    customQuery: Literal[True]
    query: str


class Tag(Known):
    key: str
    value: str


class Query(Known):
    name: str
    query: str


class ToMetrics(Known):
    datasourceUid: Literal["prometheus"]
    spanStartTimeShift: Shift
    spanEndTimeShift: Shift
    tags: list[Tag]
    queries: list[Query]


class JaegerData(Known):
    nodeGraph: NodeGraph
    tracesToLogsV2: ToLogs | None = None
    tracesToMetrics: ToMetrics | None = None


DATA: dict[str, type[Known]] = {
    "prometheus": PrometheusData,
    "alertmanager": AlertmanagerData,
    "loki": LokiData,
    "jaeger": JaegerData,
}


class Datasource(Known):
    name: str
    uid: Uid
    type: Uid
    access: Literal["proxy"]
    url: str
    isDefault: bool = False
    jsonData: dict[str, Any]


class Datasources(Known):
    apiVersion: Literal[1]
    prune: Literal[True]
    datasources: list[Datasource] | None


class ProviderOptions(Known):
    path: str
    foldersFromFilesStructure: Literal[True]


class Provider(Known):
    name: str
    type: Literal["file"]
    updateIntervalSeconds: Annotated[int, Field(ge=1)]
    disableDeletion: bool
    allowUiUpdates: bool
    options: ProviderOptions


class Providers(Known):
    apiVersion: Literal[1]
    providers: list[Provider]


def rendered(*enabled: str, root: Path = NOWHERE, **grafana: Any) -> Rendered:
    """A stack with Grafana and these backends."""
    parts = {name: {"enabled": name in enabled} for name in BACKENDS}
    return render(config(components={**parts, "grafana": {"enabled": True, **grafana}}), root)


def content(found: Rendered, key: str) -> str:
    return next(item.value for item in found.content if item.key == f"obsctl/obs/{key}")


def read_by_grafana(value: Any) -> Any:
    """Grafana puts the environment into every text of its provisioning files, and $$ is how to write a dollar."""
    if isinstance(value, dict):
        return {key: read_by_grafana(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [read_by_grafana(entry) for entry in value]
    return "$".join(os.path.expandvars(part) for part in value.split("$$")) if isinstance(value, str) else value


def datasources(*enabled: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Datasource]:
    for name in BACKENDS:
        monkeypatch.setenv(f"{name.upper()}_URL", f"http://{name}.test")
    document = read_by_grafana(yaml.safe_load(content(rendered(*enabled), "config/datasources.yml")))
    return {found.uid: found for found in Datasources.model_validate(document).datasources or []}


def uids(value: Any) -> set[str]:
    """Every datasource that something leads to."""
    if isinstance(value, dict):
        own = {entry for key, entry in value.items() if key in ("datasourceUid", "alertmanagerUid")}
        return own.union(*(uids(entry) for entry in value.values()))
    return set().union(*(uids(entry) for entry in value)) if isinstance(value, list) else set()


COMBINATIONS = [names for count in range(5) for names in itertools.combinations(BACKENDS, count)]


@pytest.mark.parametrize("enabled", COMBINATIONS, ids="-".join)
def test_there_is_a_datasource_for_what_runs_and_each_leads_to_what_is_there(
    enabled: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = datasources(*enabled, monkeypatch=monkeypatch)
    assert set(found) == set(enabled)
    for uid, datasource in found.items():
        assert (datasource.type, datasource.url) == (uid, f"http://{uid}.test")
        DATA[uid].model_validate(datasource.jsonData)
        assert uids(datasource.jsonData) <= set(enabled)


def test_with_all_of_them_every_way_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    found = datasources(*BACKENDS, monkeypatch=monkeypatch)
    ways = {uid: uids(datasource.jsonData) for uid, datasource in found.items()}
    assert ways == {
        "prometheus": {"alertmanager", "jaeger"},
        "alertmanager": set(),
        "loki": {"jaeger"},
        "jaeger": {"loki", "prometheus"},
    }
    assert [uid for uid, datasource in found.items() if datasource.isDefault] == ["prometheus"]


@pytest.mark.parametrize(("timing", "told"), [("fast", "5s"), ("standard", "15s")])
def test_a_rate_spans_two_values_of_what_comes_most_seldom(timing: str, told: str) -> None:
    """Grafana's $__rate_interval is four times what it is told; host metrics come every 10 s, or scrape interval."""
    prometheus = grafana_datasources(timing=timing)["datasources"][0]
    assert (prometheus["uid"], prometheus["jsonData"]["timeInterval"]) == ("prometheus", told)


def test_a_trace_leads_to_its_lines_and_to_metrics_of_the_same_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    data = JaegerData.model_validate(datasources(*BACKENDS, monkeypatch=monkeypatch)["jaeger"].jsonData)
    assert data.tracesToLogsV2
    assert data.tracesToMetrics
    assert data.tracesToLogsV2.query == '{service_name=~".+"} | trace_id="${__span.traceId}"'
    for query in data.tracesToMetrics.queries:
        for tags in ('span_name="GET /hello"', 'span_name="GET", service_name="hello-service"', ""):
            promql_parser.parse(query.query.replace("$__tags", tags))
        assert "$__tags" in query.query


@pytest.mark.parametrize(
    ("line", "trace"),
    [
        ('{"level": "info", "trace_id": "0123456789abcdef0123456789abcdef"}', "0123456789abcdef0123456789abcdef"),
        ('{"trace_id":"0123456789abcdef0123456789abcdef"}', "0123456789abcdef0123456789abcdef"),
        ('{"trace_id": ""}', None),
        ("trace_id is a word", None),
    ],
)
def test_a_json_line_leads_to_its_trace(line: str, trace: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    data = LokiData.model_validate(datasources(*BACKENDS, monkeypatch=monkeypatch)["loki"].jsonData)
    by_label, by_line = data.derivedFields
    assert (by_label.matcherType, by_label.matcherRegex) == ("label", "^trace_id$")
    assert by_line.name != by_label.name, "Grafana takes fields of one name for one"
    found = re.search(by_line.matcherRegex, line)
    assert (found[1] if found else None) == trace


def test_dashboards_are_one_provider_that_makes_folders_of_folders() -> None:
    document = yaml.safe_load(content(rendered(), "config/dashboards.yml"))
    [provider] = Providers.model_validate(document).providers
    assert provider.options.path == "$NOMAD_TASK_DIR/dashboards"


def test_each_dashboard_is_a_value_and_a_file_of_its_own(tmp_path: Path) -> None:
    own = tmp_path / "dashboards" / "My team"
    own.mkdir(parents=True)
    (own / "mine.json").write_text('{"uid": "mine", "title": "Mine"}')
    (own.parent / "top.json").write_text('{"uid": "top", "title": "Top"}')
    found = rendered(root=tmp_path)
    hcl = next(job.hcl for job in found.jobs if job.component == "grafana")
    files = [str(path.relative_to(shipped() / "dashboards")) for path in (shipped() / "dashboards").rglob("*.json")]
    for file in [*files, "My team/mine.json", "top.json"]:
        assert f'destination = "local/dashboards/{file}"' in hcl
        assert f'"{{{{ key \\"obsctl/obs/dashboards/{file.removesuffix(".json")}\\" }}}}"' in hcl
    assert content(found, "dashboards/My team/mine") == '{"uid": "mine", "title": "Mine"}'
    for file in files:
        text = (shipped() / "dashboards" / file).read_text(encoding="utf-8")
        assert content(found, f"dashboards/{file.removesuffix('.json')}") == text


def test_without_grafana_there_are_no_dashboards_in_consul() -> None:
    assert [item.key for item in render(config(), NOWHERE).content if "/dashboards/" in item.key] == []


def settings(**grafana: Any) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(content(rendered(**grafana), "config/grafana.ini"))
    return parser


def test_nobody_gets_in_without_an_account_and_nothing_goes_out() -> None:
    ini = settings()
    assert not ini.getboolean("auth.anonymous", "enabled")
    assert not ini.getboolean("users", "allow_sign_up")
    assert not any(ini.getboolean("analytics", key) for key in ini["analytics"])
    assert not ini.getboolean("news", "news_feed_enabled")
    assert ini.getboolean("plugins", "preinstall_disabled")
    assert ini["server"]["http_addr"] == "${NOMAD_IP_http}"
    assert all(section[key] for section in (ini[name] for name in ini.sections()) for key in section), (
        "Grafana skips a setting without a value"
    )


def test_looking_without_an_account_is_as_a_viewer() -> None:
    ini = settings(anonymous=True)
    assert (ini.getboolean("auth.anonymous", "enabled"), ini["auth.anonymous"]["org_role"]) == (True, "Viewer")


@pytest.mark.parametrize(
    ("given", "root_url", "secure"),
    [
        ({}, "http://${NOMAD_ADDR_http}/", False),
        ({"root_url": "https://grafana.example.org/"}, "https://grafana.example.org/", True),
        ({"root_url": "http://node-1.example.org:3000/grafana/"}, "http://node-1.example.org:3000/grafana/", False),
    ],
)
def test_cookies_are_for_https_where_people_come_by_it(given: dict[str, str], root_url: str, secure: bool) -> None:
    ini = settings(**given)
    assert (ini["server"]["root_url"], ini.getboolean("security", "cookie_secure")) == (root_url, secure)


@pytest.mark.parametrize(
    "root_url", ["grafana.example.org", "https://", "https://u@h/", "https://h/${X}", "https://h/ x"]
)
def test_an_address_that_is_none_is_refused(root_url: str) -> None:
    with pytest.raises(ValueError, match=r"grafana.example.org"):
        rendered(root_url=root_url)


def hcl(driver: str, **grafana: Any) -> str:
    return next(job.hcl for job in rendered(driver=driver, **grafana).jobs if job.component == "grafana")


@pytest.mark.parametrize("driver", ["docker", "podman"])
def test_the_image_starts_by_itself(driver: str) -> None:
    text = hcl(driver)
    assert re.search(r"args = \[\s*\]", text)
    assert 'GF_PATHS_DATA              = "/var/lib/grafana"' in text
    assert text.count("uid         = 472") == 2


@pytest.mark.parametrize("driver", ["exec", "raw_exec"])
def test_a_program_is_told_where_its_own_files_are(driver: str) -> None:
    args = re.search(r"args = (\[.*?\n +\])", hcl(driver, home="/opt/grafana"), re.DOTALL)
    assert args
    assert json.loads(args[1].replace(",\n        ]", "]")) == [
        "server", "--homepath=/opt/grafana", "--config=${NOMAD_TASK_DIR}/grafana.ini",
    ]  # fmt: skip


@pytest.mark.parametrize("driver", ["docker", "podman", "exec", "raw_exec"])
def test_a_secret_is_in_no_environment_but_in_a_file_for_its_user(driver: str) -> None:
    text = hcl(driver)
    for item in ("admin_password", "secret_key"):
        assert f'"$__file{{${{NOMAD_SECRETS_DIR}}/{item}}}"' in text
        assert f'destination = "secrets/{item}"' in text
    assert text.count('perms       = "0400"') == 2
