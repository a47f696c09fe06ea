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
from urllib.parse import parse_qs, urlsplit

import promql_parser
import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from obsctl.assets import shipped
from obsctl.stack.render import Rendered, render
from tests.world import NOWHERE, config, grafana_datasources

PLUGIN = "victoriametrics-logs-datasource"
BACKENDS = ("prometheus", "alertmanager", "victorialogs", "jaeger")
Uid = Literal["prometheus", "alertmanager", "victorialogs", "jaeger"]
Shift = Annotated[str, Field(pattern=r"^-?\d+[smh]$")]


class Known(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Exemplar(Known):
    name: Literal["trace_id"]  # the label that the demo and the collector give their exemplars
    url: str
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
    urlDisplayLabel: str


class LevelRule(Known):
    field: str
    operator: Literal["equals", "notEquals", "regex", "lessThan", "greaterThan", "wordFilter"]
    value: int
    level: Literal["critical", "error", "warning", "info", "debug", "trace", "unknown"]


class VictoriaLogsData(Known):
    """Of the plugin 0.30.1 (src/types.ts: Options)."""

    maxLines: Annotated[int, Field(le=10000)]
    logLevelRules: list[LevelRule]
    derivedFields: list[DerivedField] = []


class NodeGraph(Known):
    enabled: bool


class ToLogs(Known):
    datasourceUid: Literal["victorialogs"]
    spanStartTimeShift: Shift
    spanEndTimeShift: Shift
    customQuery: Literal[True]
    query: str


class Tag(Known):
    key: str
    value: str


class ToLogsElsewhere(Known):
    """Without a query of its own: Grafana makes it, in the language of the datasource."""

    datasourceUid: str
    spanStartTimeShift: Shift
    spanEndTimeShift: Shift
    filterByTraceID: Literal[True]
    tags: list[Tag]


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
    tracesToLogsV2: ToLogs | ToLogsElsewhere | None = None
    tracesToMetrics: ToMetrics | None = None


DATA: dict[str, type[Known]] = {
    "prometheus": PrometheusData,
    "alertmanager": AlertmanagerData,
    "victorialogs": VictoriaLogsData,
    "jaeger": JaegerData,
}


class Datasource(Known):
    name: str
    uid: Uid
    type: str
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
        own |= {explored(entry)["datasource"] for key, entry in value.items() if key == "url" and "/explore" in entry}
        return own.union(*(uids(entry) for entry in value.values()))
    return set().union(*(uids(entry) for entry in value)) if isinstance(value, list) else set()


def explored(url: str) -> dict[str, Any]:
    """What Grafana's Explore is asked to show."""
    assert urlsplit(url).path == "/explore"
    [left] = parse_qs(urlsplit(url).query)["left"]
    return dict(json.loads(left))


COMBINATIONS = [names for count in range(5) for names in itertools.combinations(BACKENDS, count)]


@pytest.mark.parametrize("enabled", COMBINATIONS, ids="-".join)
def test_there_is_a_datasource_for_what_runs_and_each_leads_to_what_is_there(
    enabled: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = datasources(*enabled, monkeypatch=monkeypatch)
    assert set(found) == set(enabled)
    for uid, datasource in found.items():
        kind = "victoriametrics-logs-datasource" if uid == "victorialogs" else uid
        assert (datasource.type, datasource.url) == (kind, f"http://{uid}.test")
        DATA[uid].model_validate(datasource.jsonData)
        assert uids(datasource.jsonData) <= set(enabled)


def test_with_all_of_them_every_way_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    found = datasources(*BACKENDS, monkeypatch=monkeypatch)
    ways = {uid: uids(datasource.jsonData) for uid, datasource in found.items()}
    assert ways == {
        "prometheus": {"alertmanager", "jaeger"},
        "alertmanager": set(),
        "victorialogs": {"jaeger"},
        "jaeger": {"victorialogs", "prometheus"},
    }
    assert [uid for uid, datasource in found.items() if datasource.isDefault] == ["prometheus"]


@pytest.mark.parametrize(("timing", "told"), [("fast", "5s"), ("standard", "15s")])
def test_a_rate_spans_two_values_of_what_comes_most_seldom(timing: str, told: str) -> None:
    """Grafana's $__rate_interval is four times what it is told; host metrics come every 10 s, or scrape interval."""
    prometheus = grafana_datasources(timing=timing)["datasources"][0]
    assert (prometheus["uid"], prometheus["jsonData"]["timeInterval"]) == ("prometheus", told)


def test_a_trace_leads_to_its_lines_and_to_metrics_of_the_same_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    data = JaegerData.model_validate(datasources(*BACKENDS, monkeypatch=monkeypatch)["jaeger"].jsonData)
    assert isinstance(data.tracesToLogsV2, ToLogs)
    assert data.tracesToMetrics
    assert data.tracesToLogsV2.query == 'trace_id:="${__span.traceId}"'
    for query in data.tracesToMetrics.queries:
        for tags in ('span_name="GET /hello"', 'span_name="GET", service_name="hello-service"', ""):
            promql_parser.parse(query.query.replace("$__tags", tags))
        assert "$__tags" in query.query


def test_a_trace_leads_to_the_lines_in_a_store_of_ones_own() -> None:
    logs = {"endpoint": "https://logs.example.org/otlp", "grafana_datasource": "company-logs"}
    wanted = config(components={"grafana": {"enabled": True}, "jaeger": {"enabled": True}}, logs=logs)
    found = render(wanted, NOWHERE)
    given = yaml.safe_load(content(found, "config/datasources.yml"))["datasources"]
    jaeger = JaegerData.model_validate(next(each["jsonData"] for each in given if each["uid"] == "jaeger"))
    assert isinstance(jaeger.tracesToLogsV2, ToLogsElsewhere)
    assert jaeger.tracesToLogsV2.datasourceUid == "company-logs"
    assert "victorialogs" not in {each["uid"] for each in given}
    assert PLUGIN not in content(found, "config/grafana.ini"), "who knows what reads that store?"


def test_an_exemplar_opens_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    data = PrometheusData.model_validate(datasources(*BACKENDS, monkeypatch=monkeypatch)["prometheus"].jsonData)
    [exemplar] = data.exemplarTraceIdDestinations
    assert "${__value.raw}" in exemplar.url, "Grafana fills it in before it reads the address"
    assert explored(exemplar.url)["queries"] == [{"refId": "A", "query": "${__value.raw}"}]


def victorialogs(monkeypatch: pytest.MonkeyPatch) -> VictoriaLogsData:
    return VictoriaLogsData.model_validate(datasources(*BACKENDS, monkeypatch=monkeypatch)["victorialogs"].jsonData)


@pytest.mark.parametrize(
    ("number", "level"),
    [(0, None), (1, "trace"), (4, "trace"), (5, "debug"), (9, "info"), (12, "info"), (13, "warning"), (17, "error"),
     (20, "error"), (21, "critical"), (24, "critical")],
)  # fmt: skip
def test_a_line_has_the_level_of_its_number(number: int, level: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = victorialogs(monkeypatch).logLevelRules
    assert {(rule.field, rule.operator) for rule in rules} == {("severity_number", "greaterThan")}
    assert next((rule.level for rule in rules if number > rule.value), None) == level


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
    by_label, by_line = victorialogs(monkeypatch).derivedFields
    assert (by_label.matcherType, by_label.matcherRegex) == ("label", "trace_id"), "the plugin compares it as it is"
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
    assert ini["server"]["http_addr"] == "${NOMAD_IP_http}"
    assert all(section[key] for section in (ini[name] for name in ini.sections()) for key in section), (
        "Grafana skips a setting without a value"
    )


def plugins(*enabled: str, **grafana: Any) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(content(rendered(*enabled, **grafana), "config/grafana.ini"))
    return parser["plugins"]


def test_the_plugin_that_reads_logs_is_fetched_and_no_other() -> None:
    section = plugins("victorialogs")
    assert re.fullmatch(rf"{PLUGIN}@\d+\.\d+\.\d+", section["preinstall"]), (
        "pinned: else it is looked for at each start"
    )
    assert section.get("preinstall_disabled") is None, "which would stop this one, too"
    assert not section.getboolean("preinstall_auto_update")
    assert "grafana-lokiexplore-app" in section["disable_plugins"].split(",")
    assert "preinstall_sync" not in section, "Grafana would not start where it cannot be fetched"
    assert not section.getboolean("plugin_admin_enabled")


@pytest.mark.parametrize(
    ("enabled", "given"), [((), {}), (("jaeger",), {}), (("victorialogs",), {"plugins_dir": "/opt/plugins"})]
)
def test_nothing_is_fetched_when_it_is_not_needed_or_there(enabled: tuple[str, ...], given: dict[str, str]) -> None:
    section = plugins(*enabled, **given)
    assert section.getboolean("preinstall_disabled")
    assert PLUGIN not in str(dict(section))


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
def test_plugins_are_where_plugins_dir_says(driver: str) -> None:
    assert re.search(r'GF_PATHS_PLUGINS +=.*/plugins"', hcl(driver))
    text = hcl(driver, plugins_dir="/opt/of-ours")
    assert re.search('GF_PATHS_PLUGINS += "/opt/of-ours"', text)
    assert 'volume "plugins"' not in text, "they are in the image, or on the node"


@pytest.mark.parametrize("driver", ["docker", "podman", "exec"])
def test_a_volume_with_plugins_is_mounted_there_to_be_read(driver: str) -> None:
    text = hcl(driver, plugins_dir="/opt/of-ours", plugins_volume="of-ours")
    declared = re.search(r'volume "plugins" {(.*?)}', text, re.DOTALL)
    mounted = re.search(r'volume_mount {\s+volume      = "plugins"(.*?)}', text, re.DOTALL)
    assert declared
    assert mounted
    assert 'source    = "of-ours"' in declared[1]
    assert 'destination = "/opt/of-ours"' in mounted[1]
    assert declared[1].count("read_only = true") == 1
    assert re.search("read_only +=  *true", mounted[1])


def test_raw_exec_mounts_no_volume() -> None:
    assert "of-ours" not in hcl("raw_exec", plugins_dir="/opt/plugins", plugins_volume="of-ours")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"plugins_volume": "of-ours"}, "needs plugins_dir"),
        ({"plugins_dir": "plugins"}, "absolute path"),
        ({"plugins_dir": "/opt/${HOME}"}, "absolute path"),
    ],
)
def test_a_folder_that_is_none_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rendered(**given)


@pytest.mark.parametrize("driver", ["docker", "podman", "exec", "raw_exec"])
def test_a_secret_is_in_no_environment_but_in_a_file_for_its_user(driver: str) -> None:
    text = hcl(driver)
    for item in ("admin_password", "secret_key"):
        assert f'"$__file{{${{NOMAD_SECRETS_DIR}}/{item}}}"' in text
        assert f'destination = "secrets/{item}"' in text
    assert text.count('perms       = "0400"') == 2
