"""From a config to the text that goes to Nomad and Consul."""

from __future__ import annotations

import json
import re
import ssl
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from pydantic import ValidationError

from obsctl.config.schema import Config
from obsctl.errors import ObsctlError
from obsctl.model import Json
from obsctl.stack.render import Content, Rendered, render
from obsctl.state import private_cache
from tests.world import DEMO, NOWHERE, config


def hcl(component: str, root: Path = NOWHERE, **keys: Any) -> str:
    return next(job.hcl for job in render(config(**keys), root).jobs if job.component == component)


def content(rendered: Rendered, key: str) -> str:
    return next(item.value for item in rendered.content if item.key == key)


def override(root: Path, path: str, text: str) -> Path:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")
    return root / path


def test_no_collector_is_signalled() -> None:
    """Nomad before 2.0.3 ends a task for good that is to get a signal while it does not run; a node has one agent."""
    for component in ("otel-agent", "otel-gateway"):
        text = next(job.hcl for job in render(Config(), NOWHERE).jobs if job.component == component)
        assert set(re.findall(r'change_mode *= "(\w+)"', text)) == {"restart"}


def test_it_renders_jobs_content_and_secrets_in_a_fixed_order() -> None:
    rendered = render(config(), NOWHERE)
    assert [job.job_id for job in rendered.jobs] == [
        "obs-alert-sink",
        "obs-warden",
        "obs-prometheus",
        "obs-alertmanager",
    ]
    keys = [item.key for item in rendered.content]
    assert keys == sorted(keys)
    keeper, warden = "nomad/jobs/obs-alert-sink", "nomad/jobs/obs-warden"
    assert [(item.path, item.items, item.generated) for item in rendered.secrets] == [
        (keeper, {}, {"delivery_key": keeper}),
        (warden, {}, {"recipe_key": warden}),
        ("nomad/jobs/obs-alertmanager", {}, {"delivery_key": keeper}),
    ]


def test_the_same_config_gives_the_same_bytes() -> None:
    assert render(DEMO, NOWHERE) == render(DEMO, NOWHERE)


def test_its_files_are_jobs_and_kv_values() -> None:
    files = render(config(), NOWHERE).files()
    assert files["jobs/obs-warden.nomad.hcl"].startswith('job "obs-warden" {')
    assert yaml.safe_load(files["kv/obsctl/obs/config/prometheus.yml"])["rule_files"] == ["rules/*.yml"]


def test_the_phrases_of_the_demo_are_a_seed() -> None:
    seeds = [item for item in render(DEMO, NOWHERE).content if item.seed]
    assert [item.key for item in seeds] == ["minion_phrases"]
    assert "Bello!" in json.loads(seeds[0].value)


def test_foreign_templates_pass_untouched() -> None:
    assert '{{- range ls "obsctl/obs/rules" }}' in hcl("prometheus")
    assert "${NOMAD_ADDR_http}" in hcl("prometheus")
    assert "{{ $labels.job }}" in content(render(config(), NOWHERE), "obsctl/obs/rules/stack")


def test_the_driver_of_one_component_can_differ() -> None:
    keys = {"driver": "docker", "components": {"prometheus": {"driver": "raw_exec", "command": "/opt/prometheus"}}}
    assert 'command = "/opt/prometheus"' in hcl("prometheus", **keys)
    assert "image" not in hcl("prometheus", **keys)
    assert 'driver = "docker"' in hcl("alertmanager", **keys)


@pytest.mark.parametrize(
    ("driver", "kind", "path", "volume"),
    [
        ("docker", "host", "/prometheus", True),
        ("docker", "ephemeral", "${NOMAD_ALLOC_DIR}/data", False),
        ("podman", "host", "/prometheus", True),
        ("exec", "host", "/prometheus", True),
        ("exec", "ephemeral", "${NOMAD_ALLOC_DIR}/data", False),
        ("raw_exec", "host", "${meta.obsctl_volumes}/obs-prometheus", False),
        ("raw_exec", "ephemeral", "${NOMAD_ALLOC_DIR}/data", False),
    ],
)
def test_where_data_is_kept(driver: str, kind: str, path: str, volume: bool) -> None:
    text = hcl("prometheus", driver=driver, components={"prometheus": {"storage": {"kind": kind}}})
    assert f'"--storage.tsdb.path={path}"' in text
    assert ("volume_mount" in text, 'volume "data"' in text) == (volume, volume)


def test_prometheus_has_time_to_shut_down_and_reloads_by_itself() -> None:
    assert 'kill_timeout = "60s"' in hcl("prometheus")
    assert '"--config.auto-reload"' in hcl("prometheus")


OWN = {"prometheus": "env:P", "warden": "env:W", "demo": "env:D"}


def test_each_program_has_its_own_token_alone_and_no_program_the_operators() -> None:
    nomad = {"token": "env:N", "tokens": {"warden": "env:V"}}
    rendered = render(config(nomad=nomad, consul={"token": "env:C", "tokens": OWN}, demo={"enabled": True}), NOWHERE)
    items = {item.path.removeprefix("nomad/jobs/obs-"): item.items for item in rendered.secrets if item.items}
    demo = {"consul_token": "env:D"}
    assert items == {
        "prometheus": {"consul_token": "env:P"},
        "warden": {"consul_token": "env:W", "nomad_token": "env:V"},
        **{"hello-service": demo, "response-service": demo, "traffic": demo},
    }
    for job in rendered.jobs:
        assert set(re.findall(r"{{ (?:\.|index \. \\\")(\w+_token)\W", job.hcl)) == set(items.get(job.component, ()))


def test_without_tokens_of_their_own_programs_have_none() -> None:
    rendered = render(config(nomad={"token": "env:N"}, consul={"token": "env:C"}, demo={"enabled": True}), NOWHERE)
    assert [item.items for item in rendered.secrets if item.items] == []


def test_the_warden_and_log_links_ask_nomad_as_themselves() -> None:
    for component in ("warden", "otel-agent"):
        text = hcl(component, components={"otel-gateway": {"enabled": True}, "otel-agent": {"enabled": True}})
        assert ("--nomad-socket=${NOMAD_SECRETS_DIR}/api.sock" in text, text.count("identity {")) == (True, 1)
    assert "identity {" not in hcl("warden", nomad={"tokens": {"warden": "env:V"}})


def test_each_group_asks_for_consul_tokens_of_its_tasks_own() -> None:
    for identity in (True, False):
        rendered = render(config(consul={"workload_identity": identity}, demo={"enabled": True}), NOWHERE)
        assert {job.component: job.hcl.count("\n    consul {}\n") for job in rendered.jobs} == {
            job.component: int(identity) for job in rendered.jobs
        }


def test_what_needs_a_token_scrapes_with_it_and_what_needs_none_does_not() -> None:
    key = "obsctl/obs/config/prometheus.yml"
    for consul, count in (({"tokens": OWN}, 5), ({"workload_identity": True}, 5), ({"token": "env:C"}, 0)):
        assert content(render(config(consul=consul), NOWHERE), key).count("credentials_file") == count


@pytest.mark.parametrize(
    ("consul", "file"), [({"tokens": OWN}, "consul_token"), ({"workload_identity": True}, "own_consul_token")]
)
def test_the_token_of_prometheus_is_a_file_that_the_user_of_its_container_can_read(consul: Json, file: str) -> None:
    """The file of an identity's token that Nomad itself writes is root's."""
    text = content(render(config(consul=consul), NOWHERE), "obsctl/obs/config/prometheus.yml")
    assert set(re.findall("credentials_file: ([^}]+)}", text)) == {f"../secrets/{file}"}
    template = hcl("prometheus", consul=consul).partition(f'destination = "secrets/{file}"')[2].partition("}\n")[0]
    assert ('perms       = "0400"' in template, "uid         = 65534" in template) == (True, True)


def test_each_receiver_has_a_file_for_each_of_its_secrets() -> None:
    chat = {"name": "team-chat", "slack": {"api_url": "env:S", "channel": "#a"}, "webhook": {"url": "env:W"}}
    wanted = config(alerting={"receivers": [chat]})
    assert wanted.alerting.secrets() == {"team_chat_slack_api_url": "env:S", "team_chat_webhook_url": "env:W"}
    rendered = render(wanted, NOWHERE)
    settings = yaml.safe_load(content(rendered, "obsctl/obs/config/alertmanager.yml"))
    receiver = next(each for each in settings["receivers"] if each["name"] == "team-chat")
    assert receiver["slack_configs"][0]["api_url_file"] == "secrets/team_chat_slack_api_url"
    assert receiver["webhook_configs"][0]["url_file"] == "secrets/team_chat_webhook_url"


@pytest.mark.parametrize("name", ["123", "1e3", "null", "on", "no", "0x1f"])
def test_names_that_yaml_takes_for_something_else_stay_names(name: str) -> None:
    receiver = {"name": name, "webhook": {"url": "env:W"}}
    rendered = render(config(stack=name, alerting={"receivers": [receiver]}), NOWHERE)
    prometheus = yaml.safe_load(content(rendered, f"obsctl/{name}/config/prometheus.yml"))
    alertmanager = yaml.safe_load(content(rendered, f"obsctl/{name}/config/alertmanager.yml"))
    assert prometheus["global"]["external_labels"] == {"stack": name}
    assert alertmanager["receivers"][-1]["name"] == alertmanager["route"]["routes"][-1]["receiver"] == name


@pytest.mark.parametrize("name", ["on", "null", "1", "0x1", "-"])
def test_a_log_stores_endpoint_and_headers_stay_text(name: str) -> None:
    on = {part: {"enabled": True} for part in ("otel-gateway", "otel-agent")}
    logs = {"endpoint": "http://logs.example.org/a:", "headers": {name: "env:X"}}
    files = render(config(components=on, logs=logs), NOWHERE).files()
    exporter = yaml.safe_load(files["kv/obsctl/obs/config/otel-gateway.yml"])["exporters"]["otlp_http/logs"]
    assert (exporter["endpoint"], list(exporter["headers"])) == (logs["endpoint"], [name])


@pytest.mark.parametrize(("copy", "count"), [(True, 5), (False, 4)])
def test_alert_sink_gets_a_copy_unless_it_is_not_wanted(copy: bool, count: int) -> None:
    alerting = {"receivers": [{"name": "hook", "webhook": {"url": "env:W"}}], "copy_to_sink": copy}
    settings = content(render(config(alerting=alerting), NOWHERE), "obsctl/obs/config/alertmanager.yml")
    assert len(yaml.safe_load(settings)["route"]["routes"]) == count


class TestOwnTemplates:
    def test_one_beside_obsctl_yaml_wins(self, tmp_path: Path) -> None:
        override(tmp_path, "jobs/warden.nomad.hcl.j2", 'job "<%= job %>" { meta { mine = "<%= stack %>" } }\n')
        assert hcl("warden", tmp_path) == 'job "obs-warden" { meta { mine = "obs" } }\n'

    def test_it_can_use_the_shipped_parts(self, tmp_path: Path) -> None:
        text = "<% import '_parts.hcl.j2' as parts with context %>\n<%= parts.placement() %>"
        override(tmp_path, "jobs/warden.nomad.hcl.j2", text)
        assert 'namespace   = "default"' in hcl("warden", tmp_path)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("a\n<% if %>\n", r":2: Expected an expression"),
            ("a\n\n<%= no_such_thing %>\n", r":3: 'no_such_thing' is undefined"),
            ("a\n<%= timing.no_such_key %>\n", r":2: .*has no attribute 'no_such_key'"),
            ("<% include 'gone.j2' %>\n", r":1: .*gone\.j2"),
            ("a\n<%= 1 / 0 %>\n", r":2: ZeroDivisionError: division by zero"),
            ("<%= 'x' | no_such_filter %>\n", r":1: No filter named 'no_such_filter'"),
        ],
    )
    def test_a_mistake_is_told_with_its_file_and_line(self, tmp_path: Path, text: str, words: str) -> None:
        file = override(tmp_path, "jobs/warden.nomad.hcl.j2", text)
        with pytest.raises(ObsctlError, match=re.escape(str(file)) + words) as caught:
            hcl("warden", tmp_path)
        assert "the shipped one is used" in caught.value.hint

    def test_one_that_is_not_text_is_told_by_name(self, tmp_path: Path) -> None:
        override(tmp_path, "jobs/warden.nomad.hcl.j2", "").write_bytes(b"\xff\xfe")
        with pytest.raises(ObsctlError, match=r"warden\.nomad\.hcl\.j2: UnicodeDecodeError"):
            hcl("warden", tmp_path)


class TestCompiledTemplates:
    """What Python runs of a template is kept, so that the next command need not make it."""

    @pytest.fixture
    def compiled(self, tmp_path: Path) -> Path:
        return private_cache("templates", {"XDG_CACHE_HOME": str(tmp_path)}) or NOWHERE

    def test_they_render_the_same(self, compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = render(config(), NOWHERE, compiled=compiled)
        assert first == render(config(), NOWHERE)
        monkeypatch.setattr("jinja2.Environment.compile", None)  # what is kept needs it no more
        assert first == render(config(), NOWHERE, compiled=compiled)

    def test_a_changed_one_is_made_anew(self, tmp_path: Path, compiled: Path) -> None:
        for text in ("one\n", "another\n"):
            override(tmp_path, "jobs/warden.nomad.hcl.j2", text)
            rendered = render(config(), tmp_path, compiled=compiled)
            assert next(job.hcl for job in rendered.jobs if job.component == "warden") == text

    def test_an_image_is_named_anew_each_time(self, tmp_path: Path, compiled: Path) -> None:
        override(tmp_path, "jobs/warden.nomad.hcl.j2", '<%= "docker.io/library/redis:8" | pinned %>\n')
        for mirror in ("one.example", "another.example"):
            rendered = render(config(images={"registry": mirror}), tmp_path, compiled=compiled)
            assert next(job.hcl for job in rendered.jobs if job.component == "warden") == f"{mirror}/library/redis:8\n"
            assert "docker.io/library/redis:8" in rendered.images

    def test_a_mistake_is_still_told_with_its_file_and_line(self, tmp_path: Path, compiled: Path) -> None:
        file = override(tmp_path, "jobs/warden.nomad.hcl.j2", "a\n\n<%= no_such_thing %>\n")
        for _ in range(2):
            with pytest.raises(ObsctlError, match=re.escape(str(file)) + ":3: 'no_such_thing' is undefined"):
                render(config(), tmp_path, compiled=compiled)

    def test_one_that_was_only_half_written_is_made_anew(self, compiled: Path) -> None:
        first = render(config(), NOWHERE, compiled=compiled)
        for file in compiled.iterdir():
            file.write_bytes(file.read_bytes()[:-100])
        assert render(config(), NOWHERE, compiled=compiled) == first


def test_a_group_name_of_dots_is_no_step_in_a_path(tmp_path: Path) -> None:
    wanted = config(alerting={"rule_files": ["rules.yml"]})
    override(tmp_path, "rules.yml", 'groups: [{name: "..", rules: [{record: r, expr: up}]}]')
    assert "obsctl/obs/rules/=2E=2E" in {content.key for content in render(wanted, tmp_path).content}


def test_a_group_name_with_a_slash_is_still_one_key_below_rules(tmp_path: Path) -> None:
    """Nomad's `ls` lists only what lies directly below a prefix."""
    override(tmp_path, "rules.yml", "groups: [{name: a/b, rules: [{record: r, expr: up}]}]")
    rendered = render(config(alerting={"rule_files": ["rules.yml"]}), tmp_path)
    text = "- {name: a/b, rules: [{record: r, expr: up}]}\n"
    assert Content("obsctl/obs/rules/a=2Fb", text, "prometheus") in rendered.content


class TestAuthority:
    """What signed a server's certificate goes to the programs that ask that server."""

    CERTIFICATE = (Path(__file__).parents[1] / "golden" / "cluster" / "ca.pem").read_text().strip()
    FIRST_LINE = CERTIFICATE.splitlines()[1]

    def rendered(self, folder: Path, text: str, **keys: Any) -> dict[str, str]:
        (folder / "ca.pem").write_text(text)
        nomad = {"address": "https://nomad.example.org:4646", "tls": {"ca_file": str(folder / "ca.pem")}, **keys}
        return render(config(nomad=nomad), NOWHERE).files()

    def test_it_is_in_the_jobs_and_what_stands_beside_it_is_not(self, tmp_path: Path) -> None:
        other = "-----BEGIN SOMETHING ELSE-----\nMHcC\n-----END SOMETHING ELSE-----"
        files = self.rendered(tmp_path, f"# ours\n{other}\n{self.CERTIFICATE}\n{self.CERTIFICATE}\n")
        assert files["jobs/obs-prometheus.nomad.hcl"].count(self.FIRST_LINE) == 2
        assert "tls_config: {ca_file: nomad-ca.pem}" in files["kv/obsctl/obs/config/prometheus.yml"]
        assert "MHcC" not in "".join(files.values())

    def test_a_server_without_tls_needs_none(self, tmp_path: Path) -> None:
        files = self.rendered(tmp_path, self.CERTIFICATE, address="http://nomad.example.org:4646")
        assert "ca.pem" not in "".join(files.values())

    def test_a_file_without_a_certificate(self, tmp_path: Path) -> None:
        with pytest.raises(ObsctlError, match=r"nomad\.tls\.ca_file: the file has no certificate in PEM format"):
            self.rendered(tmp_path, "nothing")

    @pytest.mark.parametrize(
        "inside",
        [
            "MIIB", "EOT\n}\njob \"x\" {", "{{ key \"secret\" }}", "${file(\"/etc/shadow\")}", "TUlJQg==",
            f"{''.join(CERTIFICATE.splitlines()[1:-1])[:-4]}AAAA", "",
        ],
    )  # fmt: skip
    def test_what_only_looks_like_a_certificate_is_refused(self, tmp_path: Path, inside: str) -> None:
        false = f"-----BEGIN CERTIFICATE-----\n{inside}\n-----END CERTIFICATE-----"
        with pytest.raises(ObsctlError, match=r"nomad\.tls\.ca_file: certificate 2 of the file is none"):
            self.rendered(tmp_path, f"{self.CERTIFICATE}\n{false}\n")

    def test_what_follows_a_certificate_within_its_block_is_refused(self, tmp_path: Path) -> None:
        content = ssl.PEM_cert_to_DER_cert(self.CERTIFICATE) + b'EOT\n}\njob "x" {'
        with pytest.raises(ObsctlError, match="certificate 1 of the file is none"):
            self.rendered(tmp_path, ssl.DER_cert_to_PEM_cert(content))

    def test_it_is_written_anew(self, tmp_path: Path) -> None:
        one_line = "".join(self.CERTIFICATE.splitlines()[1:-1])
        text = f"-----BEGIN CERTIFICATE-----{one_line}-----END CERTIFICATE-----"
        assert self.FIRST_LINE in self.rendered(tmp_path, text)["jobs/obs-prometheus.nomad.hcl"]

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        nomad = {"address": "https://nomad.example.org:4646", "tls": {"ca_file": str(tmp_path / "none.pem")}}
        with pytest.raises(ObsctlError, match=r"nomad\.tls\.ca_file: the file cannot be read: No such file"):
            render(config(nomad=nomad), NOWHERE)


class TestCertificate:
    """The stack's programs show a certificate of their own to servers that ask for one."""

    KEYS: ClassVar = {
        name: {
            "address": f"https://{name}.example.org",
            "tls": {"cert_file": "/own", "key_file": "/own-key", "programs": {"cert": f"env:{name}", "key": "env:KEY"}},
        }
        for name in ("nomad", "consul")
    }
    NOMAD: ClassVar = {"nomad_cert": "env:nomad", "nomad_key": "env:KEY"}
    CONSUL: ClassVar = {"consul_cert": "env:consul", "consul_key": "env:KEY"}

    def test_each_program_has_those_for_the_servers_that_it_calls(self) -> None:
        components = {"otel-gateway": {"enabled": True}, "otel-agent": {"enabled": True}}
        rendered = render(config(demo={"enabled": True}, components=components, **self.KEYS), NOWHERE)
        items = {item.path.removeprefix("nomad/jobs/obs-"): item.items for item in rendered.secrets if item.items}
        assert items == {
            **dict.fromkeys(("prometheus", "warden"), self.NOMAD | self.CONSUL),
            **dict.fromkeys(("hello-service", "response-service", "traffic"), self.CONSUL),
            "otel-agent": self.NOMAD,
        }
        for job in rendered.jobs:
            files = set(re.findall(r'"secrets/(\w+_(?:cert|key))"', job.hcl)) - {"delivery_key"}
            assert files == set(items.get(job.component, ())), job.component
        assert "/own" not in "".join(rendered.files().values())

    def test_programs_are_told_of_them(self) -> None:
        files = render(config(**self.KEYS), NOWHERE).files()
        assert 'NOMAD_CLIENT_KEY={{ env "NOMAD_SECRETS_DIR" }}/nomad_key' in files["jobs/obs-warden.nomad.hcl"]
        shown = "tls_config: {cert_file: ../secrets/consul_cert, key_file: ../secrets/consul_key}"
        assert files["kv/obsctl/obs/config/prometheus.yml"].count(shown) == 5

    def test_the_program_that_works_without_rights_owns_them(self) -> None:
        """log-links is root in a container, without the right to read what another user owns."""
        components = {"otel-gateway": {"enabled": True}, "otel-agent": {"enabled": True}}
        for driver, owner in ("docker", "None"), ("exec", "65534"), ("raw_exec", "None"):
            text = hcl("otel-agent", driver=driver, components=components, **self.KEYS)
            own = re.search(r'"secrets/nomad_key"\n.*?perms += "0400"\n(?: +uid += (\d+))?', text, re.DOTALL)
            assert own, text
            assert str(own[1]) == owner, driver

    def test_a_server_without_tls_sees_none(self) -> None:
        plain = {name: {**keys, "address": f"http://{name}.example.org"} for name, keys in self.KEYS.items()}
        rendered = render(config(**plain), NOWHERE)
        assert not [item for item in rendered.secrets if item.items]
        assert "_cert" not in "".join(rendered.files().values())


@pytest.mark.parametrize(
    ("driver", "disks", "mounted", "seen"),
    [
        ("docker", True, True, {"HOST_AT": "/host", "HOST_ROOT": "/host"}),
        ("podman", True, True, {"HOST_AT": "/host", "HOST_ROOT": "/host"}),
        ("exec", True, True, {"HOST_AT": "/host", "HOST_MOUNTS": "^/host(/|$)"}),
        ("raw_exec", True, False, {}),
        ("docker", False, False, {}),
    ],
)
def test_an_agent_with_a_file_system_of_its_own_sees_the_nodes_root(
    driver: str, disks: bool, mounted: bool, seen: dict[str, str]
) -> None:
    on = {"enabled": True}
    parts = {"otel-gateway": on, "otel-agent": {**on, "driver": driver, "disks": disks}}
    job = hcl("otel-agent", components=parts)
    assert ('source    = "obsctl-host-root"' in job) is mounted
    assert dict(re.findall(r'(HOST_\w+) = "([^"]*)"', job)) == seen


def test_who_is_told_that_the_heartbeat_stopped_is_a_secret_of_the_program_that_tells() -> None:
    heartbeat = {"silence_webhook": "env:SILENCE", "outside_url": "env:OUTSIDE"}
    keys: dict[str, Any] = {"alerting": {"heartbeat": heartbeat}}
    rendered = render(config(**keys), NOWHERE)
    items = {item.path: item.items for item in rendered.secrets}
    assert items["nomad/jobs/obs-alert-sink"] == {"silence_webhook": "env:SILENCE"}
    assert items["nomad/jobs/obs-alertmanager"] == {"heartbeat_outside_url": "env:OUTSIDE"}
    assert '"--silence-webhook-file=${NOMAD_SECRETS_DIR}/silence_webhook"' in hcl("alert-sink", **keys)
    routes = yaml.safe_load(content(rendered, "obsctl/obs/config/alertmanager.yml"))["receivers"]
    [receiver] = [each for each in routes if each["name"] == "heartbeat"]
    files = [each["url_file"] for each in receiver["webhook_configs"]]
    assert files == ["secrets/alert-sink.url", "secrets/heartbeat_outside_url"]
    assert "--silence-webhook-file" not in hcl("alert-sink")


def test_names_of_alert_sink_are_passed_to_it() -> None:
    text = hcl("alert-sink", components={"alert-sink": {"hosts": ["alerts.example.org", "a.b"]}})
    assert '"--host=alerts.example.org",\n          "--host=a.b",' in text


@pytest.mark.parametrize("host", ["http://x", "a b", "x:80", "${x}", "", "-x", 'a"b'])
def test_what_is_no_hosts_name_is_refused(host: str) -> None:
    with pytest.raises(ValidationError):
        config(components={"alert-sink": {"hosts": [host]}})


def test_the_address_with_the_secret_is_a_file_for_alertmanager_alone() -> None:
    text = hcl("alertmanager", driver="docker")
    template = text[text.index('destination = "secrets/alert-sink.url"') :][:900]
    assert 'perms       = "0400"' in template
    assert "uid         = 65534" in template
    assert "http://alertmanager:{{ $secret }}@" in template


def test_a_character_beyond_the_basic_plane_stays_one() -> None:
    """JSON escapes it as two, which YAML and HCL would take for two halves."""
    rendered = render(config(consul={"datacenter": "dc-\U0001f600"}, nomad={"datacenters": ["dc-\U0001f600"]}), NOWHERE)
    files = rendered.files()
    assert "dc-\U0001f600" in files["kv/obsctl/obs/config/prometheus.yml"]
    assert "dc-\U0001f600" in files["jobs/obs-prometheus.nomad.hcl"]
    assert not [name for name, text in files.items() if r"\ud83d" in text]


def test_an_ipv6_address_stays_between_brackets() -> None:
    files = render(config(consul={"address": "http://[::1]:8500"}), NOWHERE).files()
    prometheus = yaml.safe_load(files["kv/obsctl/obs/config/prometheus.yml"])
    assert prometheus["scrape_configs"][0]["consul_sd_configs"][0]["server"] == "[::1]:8500"
