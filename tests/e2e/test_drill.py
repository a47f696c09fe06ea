"""Drills on the real stack: proven, interrupted, locked, refused; and what they leave behind: nothing."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from obsctl.drills.tell import journal
from obsctl.wait import wait_until
from tests.deployed import OBSCTL, Stack

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


def test_a_stopped_service_is_noticed_delivered_and_resolved(stack: Stack) -> None:
    document = stack.json("drill", "stop", "response-service", "--yes", code=None)

    verdict = document["verdict"]
    # Other tests share the machine, so a stage may come late here; test_timing.py measures that alone.
    assert verdict["outcome"] in ("PROVEN", "LATE"), verdict
    names = [stage["name"] for stage in verdict["stages"]]
    assert names == ["pending", "firing", "delivered", "cleared", "resolved"]
    assert document["schema"] == f"obsctl/drill/v{journal.FORMAT}"
    kinds = [record["kind"] for record in document["journal"]]
    assert kinds.index("intent") < kinds.index("armed") < kinds.index("injecting") < kinds.index("injected")
    assert stack.json("drill", "report", document["id"]) == document


def test_the_delivered_webhook_names_the_service(stack: Stack) -> None:
    document = stack.json("drill", "stop", "hello-service", "--yes", code=None)

    stages = [record["data"] for record in document["journal"] if record["kind"] == "stage"]
    delivered = next(stage for stage in stages if stage["stage"] == "delivered")
    assert delivered["evidence"]["alert"]["labels"]["service"] == "hello-service"
    assert delivered["evidence"]["receiver"] == "alert-sink"


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, *(pytest.param(each, marks=pytest.mark.campaign) for each in (signal.SIGTERM, signal.SIGHUP))],
)
def test_a_signal_puts_the_service_back_before_obsctl_ends(stack: Stack, number: signal.Signals) -> None:
    process = stack.start_drill(until="injected")

    process.send_signal(number)
    process.send_signal(number)  # people press Ctrl-C more than once
    out, err = process.communicate(timeout=60)

    assert process.returncode == 30, out + err
    assert stack.last_drill()["verdict"]["outcome"] == "ABORTED"
    assert stack.clients.nomad.job("obs-response-service")["Stop"] is False
    assert stack.clients.consul.get("obsctl/obs/lock") is None


def test_a_second_drill_and_a_deploy_are_refused_while_one_runs(stack: Stack) -> None:
    process = stack.start_drill(until="armed")
    try:
        second = stack.run("drill", "stop", "hello-service", "--yes", code=21)
        assert "drill stop response-service" in second.stderr, "who holds the lock"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_a_drill_does_not_start_when_the_service_is_already_down(stack: Stack) -> None:
    stack.clients.nomad.stop_job("obs-response-service")
    try:
        wait_until(
            lambda: not stack.clients.consul.health("response-service"),
            timeout=20,
            failure="no sign of gone",
            hint="",
        )
        refused = stack.run("drill", "stop", "response-service", "--yes", code=None)
        assert refused.returncode in (1, 20)
        assert stack.clients.nomad.job("obs-response-service")["Stop"] is True, "a drill must not start it"
    finally:
        stack.run("deploy", "--yes")


def test_a_silence_over_the_alert_is_found_before_anything_is_touched(stack: Stack) -> None:
    amtool = ["amtool", f"--alertmanager.url={stack.programs.alertmanager.address}"]
    bin_path = str(stack.cluster.folder.bin)
    silence = subprocess.run(
        [f"{bin_path}/{amtool[0]}", *amtool[1:], "silence", "add", "alertname=ServiceDown", "-c", "test", "-d", "5m"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    try:
        refused = stack.json("drill", "stop", "response-service", "--yes", code=20)
        assert silence in refused["verdict"]["reason"]
    finally:
        subprocess.run([f"{bin_path}/amtool", *amtool[1:], "silence", "expire", silence], check=True)


def test_a_full_disk_for_the_journal_stops_the_drill_before_it_touches_anything(stack: Stack, tmp_path: Path) -> None:
    version = stack.clients.nomad.job("obs-response-service")["Version"]
    fill = f"mount -t tmpfs -o size=4k tmpfs {tmp_path} && head -c 4096 /dev/zero > {tmp_path}/full"
    command = f"{fill} && exec {OBSCTL} drill stop response-service --yes"

    ended = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", command],
        env={**stack.environ, "OBSCTL_DRILLS__JOURNAL_DIR": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "cannot be written" in ended.stderr
    assert "Hint: free some space" in ended.stderr
    assert stack.clients.nomad.job("obs-response-service")["Version"] == version


def test_a_dry_run_shows_forecast_and_gate_and_touches_nothing(stack: Stack) -> None:
    version = stack.clients.nomad.job("obs-response-service")["Version"]

    document = json.loads(stack.run("drill", "stop", "response-service", "--dry-run", "--json").stdout)

    assert document["findings"] == []
    [forecast] = document["forecasts"].values()
    assert [band["stage"] for band in forecast["bands"]][:3] == ["pending", "firing", "delivered"]
    assert stack.clients.nomad.job("obs-response-service")["Version"] == version
