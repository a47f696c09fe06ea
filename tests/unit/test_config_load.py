"""Finding, overlaying and validating obsctl.yaml; what is said of files that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from obsctl import files
from obsctl.config.catalog import PROGRAMS
from obsctl.config.components import Driver
from obsctl.config.load import ConfigError, Loaded, load
from obsctl.config.schema import Config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, text: str, name: str = "obsctl.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, *, env: str | None = None, **environ: str) -> Loaded:
    return load(env=env, environ=environ, cwd=folder)


def faults(folder: Path, text: str | bytes, *, env: str | None = None, **environ: str) -> list[str]:
    """What is said of this obsctl.yaml, a line a fault."""
    (folder / "obsctl.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        read(folder, env=env, **environ)
    assert caught.value.hint
    for finding in caught.value.findings:
        assert f"{finding.where}: {finding.what}" in caught.value.message
    return [f"{finding.where}: {finding.what}" for finding in caught.value.findings]


# The local cluster's access


@pytest.fixture
def access(folder: Path) -> Path:
    servers = {
        "nomad": {"address": "http://127.0.0.1:1", "token": "file:/n"},
        "consul": {"address": "http://127.0.0.1:2"},
    }
    return write(folder, json.dumps(servers), "access.yaml")


RUNNING = {"http://127.0.0.1:1", "http://127.0.0.1:2", "http://10.9.0.12:1", "http://10.9.0.12:2"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nomad:",
        "nomad:\nconsul:",
        "nomad: {address: , token: }",
        "nomad: {timeout: 3s}",
        "nomad: {address: 'http://127.0.0.1:1/'}",
        "consul: {address: 'http://127.0.0.1:2'}",
    ],
)
def test_access_counts_where_the_local_cluster_is_meant(folder: Path, access: Path, text: str) -> None:
    write(folder, text)
    config = load(cwd=folder, environ={}, access=access, running=RUNNING).config
    assert config.nomad.token == "file:/n"
    assert config.consul.address == "http://127.0.0.1:2"


@pytest.mark.parametrize("running", [RUNNING, RUNNING - {"http://10.9.0.12:1"}], ids=["runs", "is off"])
def test_access_counts_at_each_machine_of_the_cluster_that_runs(folder: Path, access: Path, running: set[str]) -> None:
    """Another server is asked while the first is off; where no agent of the cluster runs, somebody else may listen."""
    environ = {"OBSCTL_NOMAD__ADDRESS": "http://10.9.0.12:1/"}
    config = load(cwd=folder, environ=environ, access=access, running=running).config
    assert config.nomad.address == "http://10.9.0.12:1"
    assert config.nomad.token == ("file:/n" if "http://10.9.0.12:1" in running else None)


@pytest.mark.parametrize("server", ["nomad", "consul"])
def test_no_token_goes_to_another_cluster(folder: Path, access: Path, server: str) -> None:
    write(folder, f"{server}: {{address: 'http://nomad.example.org'}}")
    config = load(cwd=folder, environ={}, access=access, running=RUNNING).config
    assert config.nomad.token is None
    assert "127.0.0.1:1" not in config.nomad.address
    variable = {f"OBSCTL_{server.upper()}__ADDRESS": "http://127.0.0.1:3"}
    assert load(cwd=folder, environ=variable, access=access, running=RUNNING).config.nomad.token is None


@pytest.mark.parametrize("running", [{"consul"}, {"nomad"}, set()])
def test_no_token_goes_to_who_listens_in_the_place_of_a_server_that_does_not_run(
    folder: Path, running: set[str]
) -> None:
    servers: dict[str, Any] = {
        name: {"address": f"http://127.0.0.1:{number}", "token": "file:/t", "tokens": {"warden": "file:/w"}}
        for number, name in enumerate(("nomad", "consul"), start=1)
    }
    access = write(folder, json.dumps(servers), "access.yaml")
    addresses = {servers[name]["address"] for name in running}
    config = load(cwd=folder, environ={}, access=access, running=addresses).config
    found = {"nomad": config.nomad, "consul": config.consul}
    assert {name for name, server in found.items() if server.token} == running
    assert not any(server.tokens.warden for server in found.values())
    assert [server.address for server in found.values()] == ["http://127.0.0.1:1", "http://127.0.0.1:2"]


def test_a_token_of_the_users_own_counts_above_access(folder: Path, access: Path) -> None:
    write(folder, "nomad: {token: 'env:MINE'}")
    assert load(cwd=folder, environ={}, access=access, running=RUNNING).config.nomad.token == "env:MINE"


def test_without_a_local_cluster_the_defaults_hold(folder: Path) -> None:
    assert load(cwd=folder, environ={}, access=folder / "access.yaml").config == Config()


# Finding the file


def test_without_a_file_the_defaults_hold(folder: Path) -> None:
    loaded = read(folder)
    assert (loaded.config, loaded.path, loaded.root) == (Config(), None, folder)


def test_the_nearest_file_upwards_is_taken(folder: Path) -> None:
    write(folder, "stack: outer")
    inner = folder / "inner"
    (inner / "deep").mkdir(parents=True)
    path = write(inner, "stack: nearest")
    loaded = read(inner / "deep")
    assert (loaded.config.stack, loaded.path, loaded.root) == ("nearest", path, inner)


def test_a_given_file_wins_and_is_relative_to_where_one_stands(folder: Path) -> None:
    write(folder, "stack: found")
    write(folder, "stack: given", "other.yaml")
    assert load(Path("other.yaml"), environ={}, cwd=folder).config.stack == "given"


def test_a_given_file_that_is_missing_is_a_fault_although_another_could_be_found(folder: Path) -> None:
    write(folder, "stack: found")
    with pytest.raises(ConfigError, match=r"nope\.yaml: there is no such file") as caught:
        load(Path("nope.yaml"), environ={}, cwd=folder)
    assert "obsctl init" in caught.value.hint


def test_a_folder_in_place_of_a_file(folder: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder") as caught:
        load(folder, environ={}, cwd=folder)
    assert str(folder / "obsctl.yaml") in caught.value.hint or "obsctl.yaml" in caught.value.hint


def test_a_file_with_the_other_ending_is_not_passed_over_in_silence(folder: Path) -> None:
    write(folder, "stack: mine", "obsctl.yml")
    with pytest.raises(ConfigError, match=r"obsctl reads obsctl\.yaml") as caught:
        read(folder)
    assert caught.value.hint.startswith("mv ")


def test_an_unreadable_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "stack: obs")

    def refuse(path: Path, **_: object) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(files, "read", refuse)  # a mode does not stop root, who may run the tests
    with pytest.raises(ConfigError, match=r"obsctl\.yaml: cannot be read: Permission denied"):
        read(folder)


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# only a comment\n", "---\n", "null", "timing:\ncomponents:\n  prometheus:\n"]
)
def test_nothing_said_means_the_defaults(folder: Path, text: str) -> None:
    write(folder, text)
    assert read(folder).config == Config()


def test_utf8_with_a_byte_order_mark_is_read(folder: Path) -> None:
    (folder / "obsctl.yaml").write_bytes(b"\xef\xbb\xbfstack: marked\n")
    assert read(folder).config.stack == "marked"


# Overlays


def test_an_overlay_changes_what_it_names_and_nothing_else(folder: Path) -> None:
    write(folder, "stack: obs\nnomad: {address: http://base:1, datacenters: [a, b]}")
    write(folder, "nomad: {datacenters: [c], namespace: prod}", "obsctl.prod.yaml")
    config = read(folder, env="prod").config
    assert (config.stack, config.nomad.address) == ("obs", "http://base:1")
    assert (config.nomad.datacenters, config.nomad.namespace) == (("c",), "prod")


def test_an_empty_value_in_an_overlay_goes_back_to_the_default(folder: Path) -> None:
    write(folder, "nomad: {namespace: base}\ncomponents: {prometheus: {port: 9999}}")
    write(folder, "nomad:\n  namespace:\ncomponents:\n", "obsctl.prod.yaml")
    assert read(folder, env="prod").config == Config()


def test_a_missing_overlay_names_those_there_are(folder: Path) -> None:
    write(folder, "", "obsctl.prod.yaml")
    write(folder, "", "obsctl.test.yaml")
    assert faults(folder, "", env="staging") == ["obsctl.staging.yaml: there is no such file"]
    with pytest.raises(ConfigError) as caught:
        read(folder, env="staging")
    assert "obsctl.prod.yaml, obsctl.test.yaml" in caught.value.hint


def test_an_overlay_of_nothing(folder: Path) -> None:
    with pytest.raises(ConfigError, match="--env prod"):
        read(folder, env="prod")


def test_an_overlay_s_name_leads_to_no_other_folder(folder: Path) -> None:
    write(folder, "stack: secret", "elsewhere.yaml")
    assert faults(folder, "", env="/../elsewhere")


def test_an_overlay_s_faults_are_placed_in_the_overlay(folder: Path) -> None:
    write(folder, "\n\nnomad:\n  timeout: soon\n", "obsctl.prod.yaml")
    found = faults(folder, "driver: dokcer\nnomad:\n  namespace: 1\n", env="prod")
    assert [line.split(": ")[0] for line in found] == [
        "obsctl.prod.yaml:4 nomad.timeout",
        "obsctl.yaml:1 driver",
        "obsctl.yaml:3 nomad.namespace",
    ]


def test_a_list_of_an_overlay_has_its_own_lines(folder: Path) -> None:
    write(folder, "alerting:\n  receivers:\n    - name: a\n      slack: {api_url: env:A}\n", "obsctl.prod.yaml")
    base = "# 1\n# 2\nalerting:\n  receivers:\n    - name: a\n      slack: {api_url: env:A, channel: x}\n"
    assert faults(folder, base, env="prod") == [
        "obsctl.prod.yaml:4 alerting.receivers[0].slack.channel: is missing and has no default"
    ]


# YAML


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a list", "obsctl.yaml:1: must be a mapping"),
        ("# 1\njust text", "obsctl.yaml:2: must be a mapping"),
        ("stack: obs\n\tdriver: docker", "obsctl.yaml:2:1: is not YAML: a tab; indent with spaces"),
        ("stack: 'obs", "obsctl.yaml:1:12: is not YAML"),
        ("a: b: c", 'obsctl.yaml:1:5: is not YAML: a ":" in the wrong place'),
        ("---\nstack: a\n---\nstack: b", "obsctl.yaml:3:1: is not YAML: a second document"),
        (b"stack: obs\nregion: \xff\xfe", "obsctl.yaml:2: is not UTF-8 text"),
        ("# 1\nstack: \x01", "obsctl.yaml:2: a character that is not allowed in text (code 1)"),
        ("stack: a\ndriver: docker\nstack: b", "obsctl.yaml:3 stack: is already given in line 1"),
        ("nomad:\n  tls: {verify: true, verify: false}", "obsctl.yaml:2 nomad.tls.verify: is already given in line 2"),
        ("services:\n  5050: {}", "obsctl.yaml:2 services: a key must be text; put it in quotes"),
        ("services:\n  on: {}", "obsctl.yaml:2 services: a key must be text; put it in quotes"),
        ("? [a]\n: b", "obsctl.yaml:1: a key must be text; put it in quotes"),
        ("stack: &here [*here]", "obsctl.yaml:1: contains itself"),
        pytest.param("stack: " + "[" * 5000, "obsctl.yaml:1: is nested too deeply", id="deep"),
        ("stack: !!python/name:os.system x", "obsctl.yaml:1 stack: a value that begins with !"),
        ("stack: !!binary aGk=", "obsctl.yaml:1 stack: a value that begins with !"),
        ("nomad: 0x_", "obsctl.yaml:1 nomad: is not a number"),
    ],
)
def test_what_is_wrong_with_the_yaml_is_said_with_its_place(folder: Path, text: str | bytes, said: str) -> None:
    assert faults(folder, text)[0].startswith(said)


def test_anchors_and_merge_keys_are_yaml_too(folder: Path) -> None:
    write(
        folder,
        "components:\n  prometheus: &usual {resources: {cpu: 300}}\n"
        "  alertmanager: {<<: *usual, resources: {memory: 64}}\n  warden: *usual\n",
    )
    components = read(folder).config.components
    assert (components.warden.resources.cpu, components.alertmanager.resources.memory) == (300, 64)
    assert components.alertmanager.resources.cpu == 200


def test_a_date_is_text(folder: Path) -> None:
    write(folder, "nomad: {region: 2026-01-01}")
    assert read(folder).config.nomad.region == "2026-01-01"


# Faults


def test_every_fault_at_once_each_with_its_line(folder: Path) -> None:
    text = """\
stack: Obs
driver: dokcer
timing: fats
nomad:
  adress: http://127.0.0.1:1
  timeout: 30
components:
  prometheus:
    prot: 9091
    port: "9090"
  alertmanager:
    port: 8099
alerting:
  receivers:
    - name: on-call
      slack: {api_url: env:SLACK}
    - name: nobody
services:
  "two words": {}
  checkout: {severity: on}
receivers: []
servers: {promethius: x}
"""
    assert faults(folder, text) == [
        "obsctl.yaml:1 stack: must be lower-case letters, digits and dashes, at most 63, "
        "with a letter or digit at both ends",
        'obsctl.yaml:2 driver: must be "docker", "podman", "exec" or "raw_exec"',
        'obsctl.yaml:3 timing.profile: must be "fast", "standard" or "relaxed"',
        'obsctl.yaml:5 nomad.adress: unknown key, did you mean "address"?',
        'obsctl.yaml:6 nomad.timeout: write a duration with its unit, like "30s" or "2m"',
        'obsctl.yaml:9 components.prometheus.prot: unknown key, did you mean "port"?',
        "obsctl.yaml:10 components.prometheus.port: must be a whole number",
        "obsctl.yaml:12 components.alertmanager.port: 8099 is also components.alert-sink.port",
        "obsctl.yaml:16 alerting.receivers[0].slack.channel: is missing and has no default",
        "obsctl.yaml:17 alerting.receivers[1]: a receiver needs at least one of webhook, slack, pagerduty, email, "
        "msteams, telegram, discord, opsgenie, alertmanager",
        "obsctl.yaml:19 services.two words: a service's name has only letters, digits, dots, dashes and _",
        "obsctl.yaml:20 services.checkout.severity: must be text; put it in quotes",
        'obsctl.yaml:21 receivers: unknown key, did you mean "alerting.receivers"?',
        f"obsctl.yaml:22 servers.promethius: no such program; there are {', '.join(PROGRAMS)}",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timing: {pending: 1m}", 'timing.pending: unknown key, did you mean "for"?'),
        ("components: {alert_sink: {}}", 'components.alert_sink: unknown key, did you mean "alert-sink"?'),
        ("nomad: {ADDRESS: x}", 'nomad.ADDRESS: unknown key, did you mean "address"?'),
        ("prometheus: {port: 1}", 'prometheus: unknown key, did you mean "components.prometheus"?'),
        ("zzz:", "zzz: unknown key; there are stack, driver, profile, timing"),
        ("nomad: [a]", "nomad: must be a mapping"),
        ("nomad: {datacenters: dc1}", "nomad.datacenters: must be a list"),
        ("nomad: {tls: {verify: maybe}}", "nomad.tls.verify: must be true or false"),
        ("nomad: {address: http://x:99999}", "nomad.address: must be like"),
        ("nomad: {address: 'http://[::1'}", "nomad.address: must be like"),
        ("nomad: {address: http://x/v1}", "nomad.address: must be like"),
        ("nomad: {namespace: 'a b'}", "nomad.namespace: must be the name of one Nomad namespace"),
        ("nomad: {namespace: '*'}", "nomad.namespace: must be the name of one Nomad namespace"),
        ("services: {a: {namespace: '*'}}", "services.a.namespace: must be the name of one Nomad namespace"),
        ("services: {a: {job: nightly/periodic-17}}", "services.a.job: is one run of a periodic or dispatched job"),
        ("services: {a-sidecar-proxy: {}}", "services.a-sidecar-proxy: is a sidecar, which has no metrics"),
        ("nomad: {token: nomad-var:a#b}", "nomad.token: a token cannot be read from Nomad"),
        ("nomad: {tls: {cert_file: a}}", "nomad.tls.cert_file: needs key_file beside it"),
        ("nomad: {timeout: 0s}", "nomad.timeout: must be longer than 0s"),
        ("components: {prometheus: {port: true}}", "components.prometheus.port: must be a whole number"),
        ("components: {prometheus: {port: 0}}", "components.prometheus.port: must be at least 1"),
        ("components: {prometheus: {port: 65536}}", "components.prometheus.port: must be at most 65535"),
        (
            "components: {prometheus: {storage: {kind: disk}}}",
            'prometheus.storage.kind: must be "host", "dynamic" or "ephemeral"',
        ),
        (
            "components: {prometheus: {storage: {kind: ephemeral, source: x}}}",
            "storage.source: only kind: host and kind: dynamic",
        ),
        (
            "components: {prometheus: {driver: raw_exec, storage: {kind: dynamic}}}",
            "components.prometheus.storage.kind: raw_exec mounts no volumes",
        ),
        ("components: {prometheus: {resources: {memory: 1}}}", "resources.memory: must be at least 10"),
        ("demo: {requests_per_second: 0}", "demo.requests_per_second: must be more than 0"),
        ("demo: {requests_per_second: .nan}", "demo.requests_per_second: must be a number"),
        ("demo: {requests_per_second: fast}", "demo.requests_per_second: must be a number"),
        ("timing: {profile: [fast]}", "timing.profile: must be"),
        ("timing: {scrape_timeout: 1m}", "timing.scrape_timeout: must not be longer than scrape_interval"),
        ("timing: {for: 1s}", "timing.for: must be at least 2s"),
        ("timing: {window: 20s}", "timing.window: must span at least 4 scrape intervals"),
        ("timing: {check_interval: 500ms}", "timing.check_interval: must be at least 1s"),
        (
            "alerting: {receivers: [{name: heartbeat, webhook: {url: env:A}}]}",
            "receivers[0].name: heartbeat is obsctl's own",
        ),
        ("alerting: {receivers: [null]}", "alerting.receivers[0]: a receiver needs at least one of"),
        ("alerting: {rules: {A: {labels: {a-b: c}}}}", "alerting.rules.A.labels.a-b: a label's name"),
        ("drills: {journal_dir: ''}", "drills.journal_dir: must not be empty"),
    ],
)
def test_each_fault_in_plain_words(folder: Path, text: str, said: str) -> None:
    found = "\n".join(faults(folder, text))
    assert said in found
    assert "Input should" not in found
    assert "pydantic" not in found


def test_faults_between_values_are_found_beside_others(folder: Path) -> None:
    found = faults(folder, "timing: {scrape_timeout: 1m, window: 20s, for: soon}\nstack: Obs")
    assert [line.split(": ")[0] for line in found] == [
        "obsctl.yaml:1 timing.for",
        "obsctl.yaml:1 timing.scrape_timeout",
        "obsctl.yaml:1 timing.window",
        "obsctl.yaml:2 stack",
    ]


def test_a_clash_with_a_value_that_is_at_fault_itself_is_not_invented(folder: Path) -> None:
    """The mistyped port of prometheus would be 9090 by default, which alertmanager may take."""
    text = "components:\n  prometheus: {port: '9091'}\n  alertmanager: {port: 9090}\n"
    assert faults(folder, text) == ["obsctl.yaml:2 components.prometheus.port: must be a whole number"]


def test_ports_and_volumes_are_not_shared(folder: Path) -> None:
    text = """\
components:
  prometheus: {port: 5050, storage: {source: data}}
  alertmanager: {storage: {source: data}}
demo: {enabled: true}
"""
    assert faults(folder, text) == [
        "obsctl.yaml:2 components.prometheus.port: 5050 is also demo.hello-service.port",
        "obsctl.yaml:3 components.alertmanager.storage.source: data is also components.prometheus.storage.source",
    ]


@pytest.mark.parametrize("off", ["demo: {enabled: false}", "demo: {enabled: true, hello-service: {enabled: false}}"])
def test_what_does_not_run_takes_no_port(folder: Path, off: str) -> None:
    write(folder, f"components: {{prometheus: {{port: 5050}}}}\n{off}")
    assert read(folder).config.components.prometheus.port == 5050


def test_receivers_have_different_names(folder: Path) -> None:
    text = "alerting:\n  receivers:\n    - {name: a, webhook: {url: env:A}}\n    - {name: a, webhook: {url: env:B}}\n"
    assert faults(folder, text) == ["obsctl.yaml:4 alerting.receivers[1].name: receivers[0] has this name too"]


# Values


def test_a_part_of_the_resources_keeps_the_others(folder: Path) -> None:
    write(folder, "components: {prometheus: {resources: {cpu: 300}}}\ndemo: {traffic: {resources: {memory: 64}}}")
    config = read(folder).config
    assert config.components.prometheus.resources.model_dump() == {"cpu": 300, "memory": 1024}
    assert config.demo.traffic.resources.model_dump() == {"cpu": 100, "memory": 64}


def test_a_service_without_more_words_is_watched(folder: Path) -> None:
    write(folder, "services:\n  checkout:\n  billing: {job: shop, namespace: team}\n")
    assert read(folder).config.watched_services() == {
        "checkout": ("default", "checkout"),
        "billing": ("team", "shop"),
    }


def test_the_demo_s_services_are_watched_when_it_is_on(folder: Path) -> None:
    write(folder, "stack: mine\ndemo: {enabled: true}")
    watched = {name: ("default", f"mine-{name}") for name in ("hello-service", "response-service")}
    assert read(folder).config.watched_services() == watched


def test_timing_as_a_name_or_as_a_mapping(folder: Path) -> None:
    write(folder, "timing: fast")
    fast = read(folder).config.timing
    write(folder, "timing: {profile: fast, for: 20s}")
    changed = read(folder).config.timing
    assert (fast.pending, changed.pending, changed.window) == (10, 20, fast.window)


def test_relative_paths_start_at_the_file(folder: Path) -> None:
    write(
        folder, "nomad: {tls: {ca_file: tls/ca.pem}}\nservers: {nomad: /opt/nomad}\ndrills: {journal_dir: ~/journals}"
    )
    (folder / "deep").mkdir()
    config = read(folder / "deep").config
    assert config.nomad.tls.ca_file == str(folder / "tls/ca.pem")
    assert config.servers == {"nomad": "/opt/nomad"}
    assert config.drills.journal_dir == str(Path("~/journals").expanduser())


def test_an_address_may_end_with_a_slash(folder: Path) -> None:
    write(folder, "nomad: {address: 'https://nomad.example.org:4646/'}\nconsul: {address: 'http://[::1]:8500'}")
    config = read(folder).config
    assert (config.nomad.address, config.consul.address) == ("https://nomad.example.org:4646", "http://[::1]:8500")


def test_where_it_came_from_is_known(folder: Path) -> None:
    write(folder, "stack: obs")
    write(folder, "driver: raw_exec", "obsctl.lab.yaml")
    loaded = read(folder, env="lab", OBSCTL_TIMING="fast", HOME="/x")
    assert loaded.sources == ("obsctl.yaml", "obsctl.lab.yaml", "OBSCTL_TIMING")
    assert loaded.config.driver is Driver.RAW_EXEC


# Secrets never show


SECRET = "xoxb-5ecre7"


@pytest.mark.parametrize(
    "text",
    [
        f"nomad: {{token: {SECRET}}}",
        f"nomad: {{token: [{SECRET}]}}",
        f"nomad: {{token: '*{SECRET}'}}",
        f"nomad: {{token: *{SECRET}}}",
        f"nomad: {{token: !{SECRET}}}",
        f"nomad: {{token: &{SECRET} a, x: &{SECRET} b}}",
        f"nomad: {{token: '{SECRET}}}",
        f"nomad: {{tokn: {SECRET}}}",
        f"nomad: {{address: http://me:{SECRET}@127.0.0.1:4646}}",
        f"alerting: {{receivers: [{{name: a, webhook: https://{SECRET}}}]}}",
        f"alerting: {{receivers: [{{name: a, webhook: {{url: https://{SECRET}}}}}]}}",
        f"alerting: {{receivers: [{{name: a, slack: {{api_url: https://{SECRET}, channel: c}}}}]}}",
        f"alerting: {{receivers: [{{name: a, pagerduty: {{routing_key: {SECRET}}}}}]}}",
        f"alerting: {{receivers: [{{name: a, email: {{to: a, from: b, smarthost: c, password: {SECRET}}}}}]}}",
        f"alerting: {{receivers: [{{name: a, email: {{to: a, from: b, smarthost: c, password: 'env:{SECRET} x'}}}}]}}",
    ],
)
def test_a_secret_in_the_file_is_refused_and_never_repeated(folder: Path, text: str) -> None:
    assert SECRET not in "\n".join(faults(folder, text))


def test_a_refused_secret_is_told_what_to_write(folder: Path) -> None:
    assert "write env:NAME" in faults(folder, f"consul: {{token: {SECRET}}}")[0]


def test_a_refused_secret_is_in_no_traceback(folder: Path) -> None:
    write(folder, f"nomad: {{token: {SECRET}}}")
    with pytest.raises(ConfigError) as caught:
        read(folder)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_alertmanager_without_its_receiver_is_a_fault_at_both_keys(tmp_path: Path) -> None:
    (tmp_path / "obsctl.yaml").write_text("components:\n  alert-sink: {enabled: false}\n")
    with pytest.raises(ConfigError, match="alertmanager delivers to alert-sink") as caught:
        load(tmp_path / "obsctl.yaml", environ={})
    assert "components.alert-sink.enabled" in caught.value.message


def test_an_agent_without_its_gateway_is_a_fault_at_both_keys(tmp_path: Path) -> None:
    (tmp_path / "obsctl.yaml").write_text("components:\n  otel-gateway: {enabled: false}\n")
    with pytest.raises(ConfigError, match="otel-agent sends to otel-gateway: enable both or neither") as caught:
        load(tmp_path / "obsctl.yaml", environ={})
    assert "components.otel-gateway.enabled" in caught.value.message


# High availability


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("", (1, 1, 1, 1)),
        ("profile: ha", (2, 3, 3, 1)),
        ("profile: ha-one-node", (2, 3, 3, 1)),
        ("{profile: ha, components: {alertmanager: {count: 2}}}", (2, 2, 3, 1)),
        ("components: {otel-gateway: {count: 4}}", (1, 1, 4, 1)),
    ],
)
def test_how_many_run(folder: Path, text: str, counts: tuple[int, ...]) -> None:
    write(folder, text)
    config = read(folder).config
    parts = config.components
    assert (
        tuple(map(config.count, (parts.prometheus, parts.alertmanager, parts.otel_gateway, parts.victorialogs)))
        == counts
    )


@pytest.mark.parametrize("ours", ["", ", components: {victorialogs: {port: 9000}}"])
def test_another_log_store_replaces_victorialogs(folder: Path, ours: str) -> None:
    write(folder, "{logs: {endpoint: 'https://logs.example.org/otlp'}" + ours + "}")
    config = read(folder).config
    assert (config.components.victorialogs.enabled, config.collects_logs) == (False, True)


def test_without_a_log_store_no_logs_are_collected(folder: Path) -> None:
    assert read(folder).config.collects_logs
    write(folder, "components: {victorialogs: {enabled: false}}")
    assert not read(folder).config.collects_logs


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (
            "logs: {endpoint: 'http://x:3100/otlp'}\ncomponents:\n  victorialogs: {enabled: true}",
            ["obsctl.yaml:3 components.victorialogs.enabled: logs go to logs.endpoint, so there is no VictoriaLogs"],
        ),
        (
            "logs:\n  headers: {X-Scope-OrgID: env:TENANT}\n  grafana_datasource: x",
            [
                "obsctl.yaml:2 logs.headers: belongs to the log store at",
                "obsctl.yaml:3 logs.grafana_datasource: belongs to the log store",
            ],
        ),
        ("logs: {endpoint: 'http://u:p@x/'}", ["obsctl.yaml:1 logs.endpoint: must be like"]),
        ('logs: {endpoint: "http://x/\\e"}', ["obsctl.yaml:1 logs.endpoint: must be like"]),
        (
            "logs: {endpoint: 'http://x/', grafana_datasource: $GF_SECURITY_ADMIN_PASSWORD}",
            ["obsctl.yaml:1 logs.grafana_datasource: must be one word without"],
        ),
        (
            'components: {grafana: {plugins_dir: "/a\\x7f"}}',
            ["components.grafana.plugins_dir: must be an absolute path"],
        ),
        ("logs: {endpoint: 'http://x/?token=5'}", ["obsctl.yaml:1 logs.endpoint: must be like"]),
        (
            "logs: {endpoint: 'http://x/', headers: {Authorization: hunter2}}",
            ["obsctl.yaml:1 logs.headers.Authorization: a secret does not belong here"],
        ),
        ("logs: {endpoint: 'http://x/', headers: {'A: b': env:X}}", ["a header's name has only letters"]),
        ("logs: {endpoint: 'http://x/'}\ncomponents: 5", ["obsctl.yaml:2 components: must be a mapping"]),
        (
            "logs: {endpoint: 'http://x/'}\ncomponents: {victorialogs: 5}",
            ["obsctl.yaml:2 components.victorialogs: must be a mapping"],
        ),
        (
            "components: {victorialogs: {retention: 23h}}",
            ["obsctl.yaml:1 components.victorialogs.retention: must be from 1d to 36500d"],
        ),
    ],
)
def test_log_stores_that_cannot_be(folder: Path, text: str, faults: list[str]) -> None:
    write(folder, text)
    with pytest.raises(ConfigError) as caught:
        read(folder)
    said = str(caught.value)
    for fault in faults:
        assert fault in said
    assert "hunter2" not in said


def test_alertmanagers_have_time_for_their_turns(folder: Path) -> None:
    words = "timing.group_interval: must be at least 6s with 3 Alertmanagers, which send in turns"
    assert faults(folder, "profile: ha\ntiming: fast\n") == [f"obsctl.yaml:2 {words}"]


@pytest.mark.parametrize(("interval", "seconds"), [("6s", 1), ("30s", 5), ("10m", 15)])
def test_the_turns_take_half_of_the_group_interval_at_most(folder: Path, interval: str, seconds: float) -> None:
    write(folder, f"{{profile: ha, timing: {{group_interval: {interval}}}}}")
    assert read(folder).config.peer_timeout == seconds
