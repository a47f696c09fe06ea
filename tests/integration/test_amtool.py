"""amtool's words with the file, line and key of obsctl.yaml, and the same configuration read back from Alertmanager."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from obsctl.config.load import load
from obsctl.config.receiver_secrets import OF_HTTP, OF_TYPES
from obsctl.errors import ObsctlError
from obsctl.local.binaries import Binaries
from obsctl.stack import amtool
from obsctl.stack.checkers import run_tool
from obsctl.stack.deployment import render_checked
from obsctl.stack.render import Rendered, render
from tests.agents import answers, running, until_it_answers
from tests.ports import free_port
from tests.world import NOWHERE, config

pytestmark = pytest.mark.real

FAULTS = """\
driver: raw_exec
alerting:
  time_intervals:
    weekends:
      - weekdays: [saturday:sunday]
    nights:
      - times:
          - {start_time: 22:00, end_time: 06:00}
        location: Mars/Base
  receivers:
    - name: 24x7
      webhook:
        url: env:HOOK
        http_config:
          proxy_url: "ht!tp://proxy"
          proxi_url: http://proxy:3128
      matchers:
        - team="platform"
        - service ~ x
      alertmanager:
        victorops_configs:
          - api_key: env:VICTOROPS
            routing_key: db
            custom_fields: {routing_key: x}
        jira_configs:
          - api_url: https://jira.example.org/
            issue_type: Bug
        telegram_configs:
          - bot_token: env:TELEGRAM
            chat_id: many
        email_configs:
          - to: a@example.org
            from: b@example.org
            smarthost: mail.example.org
        pigeon_configs: [{}]
    - name: fine
      webhook: {url: env:HOOK}
"""
FOUND = [
    "obsctl.yaml:5 alerting.time_intervals.weekends[0].weekdays[0]: start day cannot be before end day",
    "obsctl.yaml:8 alerting.time_intervals.nights[0].times[0]: start time cannot be equal or greater than end time",
    "obsctl.yaml:9 alerting.time_intervals.nights[0].location: unknown time zone Mars/Base",
    "obsctl.yaml:15 alerting.receivers[0].webhook.http_config.proxy_url: "
    'parse "ht!tp://proxy": first path segment in URL cannot contain colon',
    "obsctl.yaml:16 alerting.receivers[0].webhook.http_config.proxi_url: "
    "field proxi_url not found in type config.plain",
    "obsctl.yaml:19 alerting.receivers[0].matchers[1]: bad matcher format: service ~ x",
    "obsctl.yaml:24 alerting.receivers[0].alertmanager.victorops_configs[0].custom_fields.routing_key: victorOps "
    "config contains custom field routing_key which cannot be used as it conflicts with the fixed/static fields",
    "obsctl.yaml:26 alerting.receivers[0].alertmanager.jira_configs[0]: missing project in jira_config",
    "obsctl.yaml:30 alerting.receivers[0].alertmanager.telegram_configs[0].chat_id: "
    "cannot unmarshal !!str `many` into int64",
    "obsctl.yaml:34 alerting.receivers[0].alertmanager.email_configs[0].smarthost: "
    "address mail.example.org: missing port in address",
    "obsctl.yaml:35 alerting.receivers[0].alertmanager.pigeon_configs[0]: "
    "field pigeon_configs not found in type config.plain",
]


def program(name: str) -> Path:
    return Binaries().provide(name).path


def faults(folder: Path) -> list[str]:
    """What `obsctl validate` says of the folder's obsctl.yaml, with amtool alone."""
    with pytest.raises(ObsctlError) as caught:
        render_checked(load(environ={}, cwd=folder), {"amtool": program("amtool")}, lambda _: None)
    assert "/obsctl-check-" not in caught.value.message
    return [line.strip().replace("amtool refuses it: ", "") for line in caught.value.message.splitlines()[1:]]


def test_each_find_has_its_file_line_and_key_and_all_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "obsctl.yaml").write_text(FAULTS)
    assert faults(tmp_path) == FOUND


def test_what_looks_like_a_token_is_not_repeated(tmp_path: Path) -> None:
    token = "xoxb-123456789012-abcdefghijkl"
    receiver = f"{{name: a, webhook: {{url: env:A, http_config: {{proxy_url: 'ht!tp:{token}'}}}}}}"
    (tmp_path / "obsctl.yaml").write_text(f"alerting: {{receivers: [{receiver}]}}\n")
    [said] = faults(tmp_path)
    assert token not in said
    assert said.startswith("obsctl.yaml:1 alerting.receivers[0].webhook.http_config.proxy_url: parse … first path")


def test_a_find_in_a_template_of_ones_own_is_told_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "templates/alertmanager").mkdir(parents=True)
    (tmp_path / "templates/alertmanager/alertmanager.yml.j2").write_text("route: {receiver: nobody}\n")
    (tmp_path / "obsctl.yaml").write_text("driver: raw_exec\n")
    [said] = faults(tmp_path)
    assert said.startswith("alertmanager.yml: Checking 'alertmanager.yml'  FAILED: ")
    assert 'undefined receiver "nobody" used in route' in said


# Every type of receiver: what each needs beside its secrets
NEEDED: dict[str, dict[str, Any]] = {
    "email": {"to": "a@x.example", "from": "b@x.example", "smarthost": "[::1]:25"},
    "incidentio": {"url": "https://incident.example.org/"},
    "jira": {"api_url": "https://jira.example.org/", "project": "a", "issue_type": "b"},
    "pushover": {"token": "env:A", "user_key": "env:A"},
    "rocketchat": {"token": "env:A", "token_id": "env:A"},
    "sns": {"topic_arn": "a"},
    "telegram": {"chat_id": 1},
    "victorops": {"routing_key": "a"},
    "webex": {"room_id": "a"},
    "wechat": {"corp_id": "a"},
}


NOT_TOGETHER = {
    "email": OF_HTTP,
    "incidentio": ("authorization.credentials", "bearer_token"),
    "webex": [setting for setting in OF_HTTP if setting != "authorization.credentials"],
}
"""What it refuses beside its own secret, or has not."""


def usual(kind: str) -> dict[str, Any]:
    return {**{secret: "env:A" for secret in OF_TYPES[kind][:1]}, **NEEDED.get(kind, {})}


def variants(kind: str) -> list[dict[str, Any]]:
    """An entry of this type for each secret that it may have."""
    own = [{**NEEDED.get(kind, {}), **nested(setting.split("."))} for setting in OF_TYPES[kind]]
    settings = [setting for setting in OF_HTTP if setting not in NOT_TOGETHER.get(kind, ())]
    return own + [{**usual(kind), "http_config": nested(setting.split("."))} for setting in settings]


def nested(path: list[str]) -> dict[str, Any]:
    more = {"oauth2": {"client_id": "a", "token_url": "https://token.example.org/"}, "tls_config": {"cert": "a"}}
    below: Any = "env:A" if len(path) == 1 else nested(path[1:])
    return {path[0]: {**more.get(path[0], {}), **below} if isinstance(below, dict) else below}


@pytest.mark.parametrize("kind", OF_TYPES)
def test_alertmanager_reads_each_secret_of_each_type_from_a_file(kind: str) -> None:
    texts = {}
    for number, settings in enumerate(variants(kind)):
        receiver = {"name": "x", "alertmanager": {f"{kind}_configs": [settings]}}
        texts[f"{number}.yml"] = alertmanager_yml(render(config(alerting={"receivers": [receiver]}), NOWHERE))
    ended = run_tool(amtool.CHECK, program("amtool"), texts)
    assert ended.returncode == 0, [line for line in ended.stdout.splitlines() if "FAILED" in line]


def alertmanager_yml(rendered: Rendered) -> str:
    [text] = [item.value for item in rendered.content if item.key.endswith("/alertmanager.yml")]
    return text


# Words of people, before a real Alertmanager and Nomad

WORDS = "a\"b'c\\d\n${x} %{y} {{ .Status }} <% z %> \U0001f600 \u2028 \x7f \x85 \ufeff é #x: - [y] {z}"
RECEIVERS = [
    {
        "name": "24x7",
        "slack": {"api_url": "env:A", "channel": WORDS},
        "matchers": ['team="a\\"b \U0001f600 ${x} %{y} {{ z }}"'],
        "mute_time_intervals": ["0-nights"],
        "alertmanager": {"pagerduty_configs": [{"routing_key": "env:A", "details": {WORDS: WORDS}}]},
    }
]
NIGHTS = {"0-nights": [{"times": [{"start_time": "00:00", "end_time": "06:00"}], "location": "Europe/Berlin"}]}


def test_any_words_are_read_back_from_alertmanager_as_they_are(tmp_path: Path) -> None:
    text = alertmanager_yml(render(config(alerting={"receivers": RECEIVERS, "time_intervals": NIGHTS}), NOWHERE))
    (tmp_path / "alertmanager.yml").write_text(text, encoding="utf-8")
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        str(program("alertmanager")), "--config.file=alertmanager.yml", "--storage.path=data",
        f"--web.listen-address={url.removeprefix('http://')}", "--cluster.listen-address=",
    ]  # fmt: skip
    with running(command, tmp_path):
        until_it_answers(lambda: answers(f"{url}/-/ready"), tmp_path)
        status = requests.get(f"{url}/api/v2/status", timeout=5).json()
    shown = yaml.safe_load(status["config"]["original"])
    [receiver] = [each for each in shown["receivers"] if each["name"] == "24x7"]
    assert receiver["slack_configs"][0]["channel"] == WORDS
    assert receiver["pagerduty_configs"][0]["details"][WORDS] == WORDS
    [route] = [each for each in shown["route"]["routes"] if each["receiver"] == "24x7" and "group_by" not in each]
    assert (route["matchers"], route["mute_time_intervals"]) == (RECEIVERS[0]["matchers"], ["0-nights"])
    assert shown["time_intervals"][0]["time_intervals"] == NIGHTS["0-nights"]


def test_nomad_reads_names_that_begin_with_a_digit(tmp_path: Path) -> None:
    rendered = render(config(alerting={"receivers": RECEIVERS, "time_intervals": NIGHTS}), NOWHERE)
    [job] = [job for job in rendered.jobs if job.component == "alertmanager"]
    (tmp_path / "job.hcl").write_text(job.hcl, encoding="utf-8")
    command = [program("nomad"), "job", "run", "-output", "job.hcl"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert r"{{ index . \"24x7_slack_api_url\" }}" in ended.stdout
