"""A node whose address is IPv6: every program of the stack is found, scraped and sent to there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from obsctl.clients.instances import url
from obsctl.local.machines import CLIENT
from obsctl.model import Json
from obsctl.wait import SYSTEM_CLOCK, wait_until
from tests.deployed import TELEMETRY, Stack, write_config
from tests.deployed_telemetry import SERVICES, Telemetry
from tests.local_cluster import configured, running_cluster
from tests.world import ALERT_PATH

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(400),
    pytest.mark.xdist_group("ipv6"),
    pytest.mark.needs(nomad="1.10"),  # a client of before cannot be told to prefer its IPv6 address
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    def by_ipv6(agent: str, _: str, config: Json) -> None:
        if agent == CLIENT:
            config["client"]["preferred_address_family"] = "ipv6"

    with configured(by_ipv6), running_cluster() as running:
        stack = Stack(running, tmp_path_factory.mktemp("stack"))
        write_config(stack.folder, running, components=(*ALERT_PATH, *TELEMETRY))
        stack.run("deploy", "--yes")
        yield stack


def test_everything_is_scraped_there(stack: Stack) -> None:
    targets = [target["scrapeUrl"] for one in stack.programs.prometheus.each() for target in one.targets()]
    assert len([each for each in targets if each.startswith("http://[::1]:")]) > 8
    stack.wait_all_up(within=60)


def test_a_request_is_a_trace_and_log_lines(stack: Stack) -> None:
    telemetry, since = Telemetry(stack), SYSTEM_CLOCK.now()
    address = telemetry.address("hello-service")
    assert address.startswith("http://[::1]:")
    trace = telemetry.say_hello(address)

    def seen() -> bool:
        lines = {service for service, found in telemetry.log_traces(since) if found == trace}
        return {service for service, _ in telemetry.spans(trace)} >= set(SERVICES) and lines >= set(SERVICES)

    wait_until(seen, timeout=60, failure="no sign of the trace and its lines", hint="")


@pytest.mark.campaign
def test_a_drill_proves_the_alert_path(stack: Stack) -> None:
    assert all(url(entry).startswith("http://[::1]:") for entry in stack.clients.consul.health("alert-sink"))
    stack.wait_steady()
    verdict = stack.json("drill", "stop", "response-service", "--yes", code=None)["verdict"]
    assert verdict["outcome"] in ("PROVEN", "LATE"), verdict
