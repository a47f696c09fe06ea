"""The profile ha-one-node: two Prometheus and three Alertmanagers notify once, also when an Alertmanager is killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
import yaml

from obsctl.clients.protocols import AlertmanagerApi
from obsctl.model import Json
from obsctl.wait import SYSTEM_CLOCK, wait_until
from tests.deployed import Stack, write_config
from tests.local_cluster import running_cluster

pytestmark = [pytest.mark.real, pytest.mark.campaign, pytest.mark.timeout(600)]

# Between a kill and the moment that counts others must have noticed it: five seconds and more. The next Alertmanager
# sends when the first has no answer within a sixth of the group_interval: alert-sink writes to a busy disk here.
TIMING = {"profile": "fast", "for": "15s", "group_interval": "30s"}
HOLD = 15
# (the record after which it is killed, so many seconds later). What it sent is sent again if it dies before it told the
# others, which takes 0.2 s: that is promised to nobody.
MOMENTS = [("stage:pending", 0.0), ("stage:delivered", 1.0)]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The alert path and the demo, highly available, on a cluster of their own."""
    folder: Path = tmp_path_factory.mktemp("stack")
    with running_cluster() as cluster:
        write_config(folder, cluster, profile="ha-one-node", timing=TIMING)
        stack = Stack(cluster, folder)
        stack.run("deploy", "--yes")
        yield stack


def test_each_prometheus_scrapes_every_instance_and_knows_every_alertmanager(deployed: Stack) -> None:
    both = deployed.programs.prometheus.each()

    deployed.wait_all_up()
    assert len(both) == 2
    for one in both:
        targets = one.targets()
        jobs = [target["labels"]["job"] for target in targets]
        assert (jobs.count("prometheus"), jobs.count("alertmanager")) == (2, 3)
        assert len(one.alertmanagers()) == 3


def test_each_prometheus_has_a_name_that_alerts_do_not_bear(deployed: Stack) -> None:
    names = {
        yaml.safe_load(one.config_yaml())["global"]["external_labels"]["prometheus_replica"]
        for one in deployed.programs.prometheus.each()
    }
    assert names == {"0", "1"}
    for one in deployed.programs.alertmanager.each():
        alerts = one.alerts()
        assert [alert["labels"]["alertname"] for alert in alerts].count("Watchdog") == 1
        assert all("prometheus_replica" not in alert["labels"] for alert in alerts)


def test_the_alertmanagers_are_one_cluster(deployed: Stack) -> None:
    clusters = [instance.status()["cluster"] for instance in deployed.programs.alertmanager.each()]
    assert [cluster["status"] for cluster in clusters] == ["ready"] * 3
    assert len({cluster["name"] for cluster in clusters}) == 3
    members = {tuple(sorted(peer["name"] for peer in cluster["peers"])) for cluster in clusters}
    assert [len(names) for names in members] == [3]


def test_instances_keep_their_data_apart(deployed: Stack) -> None:
    nomad = deployed.clients.nomad
    volumes = Path(nomad.node(nomad.nodes()[0]["ID"])["Meta"]["obsctl_volumes"])
    for job, count in (("obs-prometheus", 2), ("obs-alertmanager", 3)):
        assert sorted(folder.name for folder in (volumes / job).iterdir()) == [str(number) for number in range(count)]


def test_verify_looks_at_each_and_notifies_once(deployed: Stack) -> None:
    document = deployed.json("verify", "--wait", "60s")
    names = [check["name"] for check in document["checks"] if check["suite"] == "targets"]
    for one in deployed.programs.prometheus.each():
        assert sum(name.endswith(f"({one.address})") for name in names) > 5
    received = deployed.programs.sink.notifications(since=0.0, alertname="ObsctlTest")
    assert [each["payload"]["status"] for each in received].count("firing") == 1


def test_a_drill_is_notified_once(deployed: Stack) -> None:
    deployed.wait_steady()
    since = SYSTEM_CLOCK.now()

    verdict = deployed.json("drill", "stop", "response-service", "--yes", code=None)["verdict"]

    assert verdict["outcome"] in ("PROVEN", "LATE"), verdict  # other tests share the machine
    assert notified(deployed, since) == ["firing", "resolved"]


@pytest.mark.parametrize(("moment", "delay"), MOMENTS)
def test_an_alertmanager_that_is_killed_neither_loses_nor_repeats_a_notification(
    deployed: Stack, moment: str, delay: float
) -> None:
    """It is the one that would have sent: the first of the cluster. What it does when it is back is awaited too."""
    deployed.wait_steady()
    since = SYSTEM_CLOCK.now()
    drill = deployed.start_drill(moment, "--hold", str(HOLD))
    victim = first_of_the_cluster(deployed)

    SYSTEM_CLOCK.sleep(delay)
    kill(victim)

    out, err = drill.communicate(timeout=240)
    assert drill.returncode in (0, 13), out + err  # PROVEN or LATE
    wait_until(
        lambda: sends_again(victim), timeout=120, failure="no sign of the killed one to take part again", hint=""
    )
    assert notified(deployed, since) == ["firing", "resolved"]
    assert restarts(deployed, "obs-alertmanager") >= 1


def notified(stack: Stack, since: float) -> list[str]:
    """What alert-sink was told of ServiceDown of response-service: one status a notification, in order."""
    return [
        alert["status"]
        for notification in stack.programs.sink.notifications(since=since, alertname="ServiceDown")
        for alert in notification["payload"]["alerts"]
        if alert["labels"]["service"] == "response-service"
    ]


def first_of_the_cluster(stack: Stack) -> AlertmanagerApi:
    return min(stack.programs.alertmanager.each(), key=lambda one: str(one.status()["cluster"]["name"]))


def kill(alertmanager: AlertmanagerApi) -> None:
    address = alertmanager.address.removeprefix("http://")
    [process] = [each for each in psutil.process_iter() if f"--web.listen-address={address}" in arguments(each)]
    process.kill()
    wait_until(lambda: not process.is_running(), timeout=10, failure="no sign of its end", hint="")


def arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def sends_again(alertmanager: AlertmanagerApi) -> bool:
    """Whether it has looked into the notification log since its start, as it does before each notification."""
    try:
        metrics = requests.get(f"{alertmanager.address}/metrics", timeout=5).text
    except requests.RequestException:
        return False
    [queries] = [line for line in metrics.splitlines() if line.startswith("alertmanager_nflog_queries_total ")]
    return float(queries.split()[1]) > 0


def restarts(stack: Stack, job: str) -> int:
    allocations: list[Json] = stack.clients.nomad.job_allocations(job)
    return sum(state["Restarts"] for one in allocations for state in one["TaskStates"].values())
