"""Receivers: every type of Alertmanager's, secrets in files alone, routes and times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from obsctl.config import receiver_secrets
from obsctl.config.load import ConfigError, load
from obsctl.config.receivers import CHANNELS
from obsctl.config.schema import Config
from obsctl.stack.render import render
from tests.world import NOWHERE, config

SECRET = "hunter2"
WORDS = "a\"b'c\\d\n${x} %{y} {{ .Status }} <% z %> \U0001f600 \u2028 \x7f \x85 \ufeff é"


def rendered(*receivers: dict[str, Any], **alerting: Any) -> dict[str, Any]:
    """Alertmanager's configuration as YAML reads it."""
    keys = {"alerting": {"receivers": list(receivers), **alerting}}
    [text] = [item.value for item in render(config(**keys), NOWHERE).content if item.key.endswith("/alertmanager.yml")]
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def receiver(**channels: Any) -> dict[str, Any]:
    """What becomes of a receiver with these channels."""
    found: dict[str, Any] = rendered({"name": "on-call", **channels})["receivers"][-1]
    return found


def items(**channels: Any) -> dict[str, str]:
    return dict(config(alerting={"receivers": [{"name": "on-call", **channels}]}).alerting.secrets())


def faults(folder: Path, text: str) -> list[str]:
    (folder / "obsctl.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(environ={}, cwd=folder)
    assert SECRET not in str(caught.value)
    return [f"{finding.where}: {finding.what}" for finding in caught.value.findings]


# What Alertmanager gets

EXAMPLES: dict[str, dict[str, Any]] = {
    "webhook": {"url": "env:A"},
    "slack": {"api_url": "env:A", "channel": "#alerts"},
    "pagerduty": {"routing_key": "env:A"},
    "email": {
        "to": "a@x.example",
        "from": "b@x.example",
        "smarthost": "[::1]:25",
        "username": "u",
        "password": "env:A",
    },
    "msteams": {"webhook_url": "env:A"},
    "telegram": {"bot_token": "env:A", "chat_id": -100},
    "discord": {"webhook_url": "env:A"},
    "opsgenie": {"api_key": "env:A", "api_url": "https://api.eu.opsgenie.com/"},
}


def test_there_is_an_example_of_each_channel() -> None:
    assert sorted(EXAMPLES) == sorted(CHANNELS)


@pytest.mark.parametrize("channel", CHANNELS)
def test_the_secret_of_a_channel_is_in_a_file_and_all_else_stands_as_it_is(channel: str) -> None:
    types = {"msteams": "msteamsv2"}
    [entry] = receiver(**{channel: EXAMPLES[channel]})[f"{types.get(channel, channel)}_configs"]
    [item] = items(**{channel: EXAMPLES[channel]})
    files = [value for key, value in entry.items() if key.endswith("_file")]
    assert files == [f"secrets/{item}"]
    assert entry["send_resolved"] is True
    assert "env:A" not in str(entry)


@pytest.mark.parametrize("kind", receiver_secrets.OF_TYPES)
def test_every_secret_of_every_type_is_refused_as_text_and_written_to_a_file_as_a_reference(kind: str) -> None:
    for setting in (*receiver_secrets.OF_TYPES[kind], *(f"http_config.{each}" for each in receiver_secrets.OF_HTTP)):
        path = setting.split(".")
        [misfit] = receiver_secrets.misfits(kind, nested(path, SECRET))
        assert misfit.path == tuple(path)
        assert misfit.words.startswith("a secret does not belong here")
        assert not list(receiver_secrets.misfits(kind, nested(path, "env:A")))
        written = receiver_secrets.with_files(kind, nested(path, "env:A"), lambda _, ref: f"file-of-{ref}")
        assert written == nested([*path[:-1], f"{path[-1]}_file"], "file-of-env:A")


def nested(path: list[str], value: object) -> dict[str, Any]:
    for step in reversed(path):
        value = {step: value}
    assert isinstance(value, dict)
    return value


def test_a_type_of_a_newer_alertmanager_has_files_for_what_looks_like_a_secret() -> None:
    [entry] = receiver(alertmanager={"pigeon_configs": [{"loft_token": "env:A", "loft": "env:prod"}]})["pigeon_configs"]
    assert entry == {
        "loft_token_file": "secrets/on_call_pigeon_0_loft_token",
        "loft": "env:prod",
        "send_resolved": True,
    }
    [misfit] = receiver_secrets.misfits("pigeon", {"loft_token": SECRET})
    assert misfit.path == ("loft_token",)


def test_files_of_http_config_are_named_from_the_folder_of_the_configuration() -> None:
    """Alertmanager looks for those from its configuration, in local/, for all others from the task's folder."""
    http = {
        "authorization": {"credentials": "env:A"},
        "http_headers": {"X-Team": {"secrets": ["env:B", "env:C"], "files": ["/etc/header"]}},
        "basic_auth": {"username": "env:D", "password": "env:E"},
    }
    [entry] = receiver(webhook={"url": "env:U", "http_config": http})["webhook_configs"]
    begin = "../secrets/on_call_webhook_http_config"
    assert entry["url_file"] == "secrets/on_call_webhook_url"
    assert entry["http_config"] == {
        "authorization": {"credentials_file": f"{begin}_authorization_credentials"},
        "http_headers": {
            "X-Team": {
                "files": [
                    "/etc/header",
                    f"{begin}_http_headers_X-Team_secrets_0",
                    f"{begin}_http_headers_X-Team_secrets_1",
                ]
            }
        },
        "basic_auth": {
            "username_file": f"{begin}_basic_auth_username",
            "password_file": f"{begin}_basic_auth_password",
        },
    }
    [entry] = receiver(alertmanager={"slack_configs": [{"app_token": "env:A", "channel": "#a"}]})["slack_configs"]
    assert entry["app_token_file"] == "../secrets/on_call_slack_0_app_token"


def test_a_type_may_be_shownby_both_ways_and_several_times() -> None:
    more = {"slack_configs": [{"api_url": "env:B", "channel": "#b"}, {"api_url": "env:C", "channel": "#c"}]}
    found = receiver(slack=EXAMPLES["slack"], alertmanager=more)
    assert [entry["channel"] for entry in found["slack_configs"]] == ["#alerts", "#b", "#c"]
    assert sorted(items(slack=EXAMPLES["slack"], alertmanager=more).values()) == ["env:A", "env:B", "env:C"]


@given(words=st.text(st.characters(exclude_categories=("Cs",))) | st.just(WORDS))
def test_any_words_are_read_back_as_they_are(words: str) -> None:
    [entry] = receiver(
        alertmanager={"slack_configs": [{"api_url": "env:A", "text": words, "fields": [{"title": words}]}]}
    )["slack_configs"]
    assert (entry["text"], entry["fields"]) == (words, [{"title": words}])


def test_a_name_that_begins_with_a_digit_is_asked_for_in_a_way_that_nomad_can_read() -> None:
    keys = {"alerting": {"receivers": [{"name": "24x7", "webhook": {"url": "env:A"}}]}}
    [job] = [job.hcl for job in render(config(**keys), NOWHERE).jobs if job.component == "alertmanager"]
    assert r"{{ index . \"24x7_webhook_url\" }}" in job


# Routes and times


def test_a_receiver_has_the_alerts_whose_labels_fit_at_the_times_it_names() -> None:
    [route] = rendered(
        {
            "name": "on-call",
            "webhook": {"url": "env:A"},
            "severities": ["critical", "page"],
            "matchers": ['team="a b"', r'service!~"test-\\d+"'],
            "mute_time_intervals": ["nights"],
            "active_time_intervals": ["office-hours"],
        },
        time_intervals={"nights": [{"times": [{"start_time": "00:00", "end_time": "06:00"}]}], "office-hours": [{}]},
    )["route"]["routes"][4:]
    assert route == {
        "receiver": "on-call",
        "matchers": ['severity=~"critical|page"', 'team="a b"', r'service!~"test-\\d+"'],
        "mute_time_intervals": ["nights"],
        "active_time_intervals": ["office-hours"],
        "continue": True,
        "routes": [
            {
                "matchers": ['alertname="NodeDown"'],
                "group_by": ["alertname", "node"],
                "mute_time_intervals": ["nights"],
                "active_time_intervals": ["office-hours"],
            }
        ],
    }


def test_time_intervals_are_alertmanagers_own() -> None:
    interval = {
        "times": [{"start_time": "09:00", "end_time": "17:00"}],
        "weekdays": ["monday:friday"],
        "days_of_month": [1, "-1"],
        "months": ["january"],
        "years": [2027],
        "location": "Europe/Berlin",
    }
    [found] = rendered(time_intervals={"office-hours": [interval]})["time_intervals"]
    as_text = {**interval, "days_of_month": ["1", "-1"], "years": ["2027"]}
    assert found == {"name": "office-hours", "time_intervals": [as_text]}


# What is refused


def test_each_fault_has_its_line_and_key_and_no_secret_is_repeated(tmp_path: Path) -> None:
    text = f"""\
alerting:
  receivers:
    - name: a
      webhook:
        url: env:A
        http_config:
          authorization: {{credentials: {SECRET}}}
          proxy_url: http://user:{SECRET}@proxy:3128
          proxy_connect_header:
            X-Key: [{SECRET}]
    - name: b
      alertmanager:
        victorops_configs:
          - api_key: {SECRET}
            routing_key: ops
        sns_configs:
          - sigv4: {{secret_key: env:AWS}}
        slack_configs:
          - api_url: env:A
            channel: env:CHANNEL
"""
    begin, plain = "alerting.receivers", "a secret does not belong here, only a reference to it: write env:NAME, "
    plain += "file:/absolute/path or nomad-var:path#key"
    no_file = "is a secret, and Alertmanager has no file for it that would keep it from view"
    assert faults(tmp_path, text) == [
        f"obsctl.yaml:7 {begin}[0].webhook.http_config.authorization.credentials: {plain}",
        f"obsctl.yaml:8 {begin}[0].webhook.http_config.proxy_url: holds a user, and Alertmanager has no file for it: "
        "use an address without one",
        f"obsctl.yaml:10 {begin}[0].webhook.http_config.proxy_connect_header.X-Key[0]: {no_file}: "
        "use a proxy that asks for no header",
        f"obsctl.yaml:14 {begin}[1].alertmanager.victorops_configs[0].api_key: {plain}",
        f"obsctl.yaml:17 {begin}[1].alertmanager.sns_configs[0].sigv4.secret_key: {no_file}: "
        "give the nodes of Alertmanager an AWS role, or name a profile",
        f"obsctl.yaml:20 {begin}[1].alertmanager.slack_configs[0].channel: is no secret of Alertmanager's, so a "
        "reference does not belong here: write the value itself",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("smarthost: mail.example.org", "smarthost: must be host:port"),
        ("smarthost: '::1:25'", "smarthost: must be host:port"),
    ],
)
def test_a_mail_server_has_a_port(text: str, said: str, tmp_path: Path) -> None:
    [fault] = faults(tmp_path, f"alerting: {{receivers: [{{name: a, email: {{to: a, from: b, {text}}}}}]}}")
    assert said in fault


def test_a_time_interval_that_is_not_there_is_named(tmp_path: Path) -> None:
    text = "alerting:\n  receivers:\n    - name: a\n      webhook: {url: env:A}\n      mute_time_intervals: [nights]\n"
    assert faults(tmp_path, text) == [
        "obsctl.yaml:5 alerting.receivers[0].mute_time_intervals[0]: nights is not in alerting.time_intervals; "
        "there are none"
    ]


def test_a_type_is_called_as_alertmanager_calls_it(tmp_path: Path) -> None:
    text = "alerting: {receivers: [{name: a, alertmanager: {victorops: []}}]}"
    assert "must be what Alertmanager calls it in a receiver, like victorops_configs" in faults(tmp_path, text)[0]


@pytest.mark.parametrize("below", ["{}", "{slack_configs: []}"])
def test_a_receiver_that_would_notify_nobody_is_refused(below: str, tmp_path: Path) -> None:
    assert faults(tmp_path, f"alerting: {{receivers: [{{name: a, alertmanager: {below}}}]}}") == [
        "obsctl.yaml:1 alerting.receivers[0].alertmanager: has no entry, so nobody would be notified"
    ]


def test_what_is_shown_loads_again() -> None:
    shown = config(alerting={"receivers": [{"name": "a", "alertmanager": {"webex_configs": [{"room_id": WORDS}]}}]})
    assert Config.model_validate(shown.model_dump(mode="json", by_alias=True, exclude_none=True)) == shown


# What YAML makes of plain words


def test_a_channel_that_yaml_takes_for_a_comment_is_told_so(tmp_path: Path) -> None:
    text = """\
alerting:
  receivers:
    - name: a
      slack:
        api_url: env:A
        channel: #alerts
    - name: b
      slack:
        api_url: env:A
        channel:
    - name: c
      alertmanager:
        slack_configs:
          - api_url: env:A
            channel: #alerts
"""
    comment = 'YAML takes what follows # for a comment; put the value in quotes, like "#alerts"'
    assert faults(tmp_path, text) == [
        f"obsctl.yaml:6 alerting.receivers[0].slack.channel: is empty; {comment}",
        "obsctl.yaml:10 alerting.receivers[1].slack.channel: is empty",
        f"obsctl.yaml:15 alerting.receivers[2].alertmanager.slack_configs[0].channel: is empty; {comment}",
    ]


def test_a_comment_within_braces_is_told_so(tmp_path: Path) -> None:
    [fault] = faults(tmp_path, "alerting: {receivers: [{name: a, slack: {api_url: env:A, channel: #alerts}}]}\n")
    assert fault.endswith("is not closed; what follows a # is a comment, except in quotes")


def test_a_time_of_the_day_needs_no_quotes(tmp_path: Path) -> None:
    """YAML 1.1 makes 22:30 a number to the base of sixty: 1350."""
    text = "alerting: {time_intervals: {n: [{times: [{start_time: 22:30, end_time: 23:45}], months: [1:3]}]}}"
    (tmp_path / "obsctl.yaml").write_text(text)
    assert load(environ={}, cwd=tmp_path).config.alerting.intervals() == {
        "n": [{"times": [{"start_time": "22:30", "end_time": "23:45"}], "months": ["1:3"]}]
    }


def test_json_is_read_as_json_is(tmp_path: Path) -> None:
    """Which escapes a character beyond the basic plane as two."""
    keys = {"alerting": {"receivers": [{"name": "a", "slack": {"api_url": "env:A", "channel": WORDS}}]}}
    (tmp_path / "obsctl.yaml").write_text(json.dumps(keys))
    [receiver] = load(environ={}, cwd=tmp_path).config.alerting.receivers
    assert receiver.slack is not None
    assert receiver.slack.channel == WORDS
    (tmp_path / "obsctl.yaml").write_text(r'stack: "\ud83d"')
    with pytest.raises(ConfigError, match="has half a character"):
        load(environ={}, cwd=tmp_path)
