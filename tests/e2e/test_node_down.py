"""One fault, one page: a node of which nothing answers any more is one notification, which names it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from obsctl.wait import wait_until
from tests.deployed import Stack

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]
NODE = "node-two"


class Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"answers 1\n")

    def log_message(self, format: str, *args: object) -> None:
        """Tests are quiet."""


class Machine:
    """A node in Consul's catalog with a Nomad agent and a service, which answer until it is lost."""

    def __init__(self, stack: Stack) -> None:
        self.session = stack.cluster.consul.session
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        for key, name, tags in (("_nomad-client-two", "nomad-client", "http"), ("printer", "printer", "obsctl.scrape")):
            service = {"ID": key, "Service": name, "Tags": [tags], "Port": self.server.server_port}
            self.session.put("/v1/catalog/register", json={"Node": NODE, "Address": "127.0.0.1", "Service": service})

    def lose(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def forget(self) -> None:
        """As `consul force-leave -prune` does."""
        self.session.put("/v1/catalog/deregister", json={"Node": NODE})


@pytest.fixture
def machine(stack: Stack) -> Iterator[Machine]:
    made = Machine(stack)
    yield made
    made.forget()
    if made.thread.is_alive():
        made.lose()


def test_a_lost_node_is_one_notification_that_names_it_until_it_is_gone(stack: Stack, machine: Machine) -> None:
    prometheus = stack.programs.prometheus
    on_node = f'count(up{{node="{NODE}"}} == 1) == 2'
    wait_until(lambda: prometheus.query(on_node), timeout=30, failure="no sign of the node's targets", hint="")
    begun = time.time()
    machine.lose()
    down = ("NodeDown", "firing", NODE)
    wait_until(lambda: down in stack.told(begun), timeout=40, failure="no sign of NodeDown", hint="")
    assert prometheus.query(f'ALERTS{{alertname="InstanceDown", node="{NODE}"}}') == [], "nothing waits to fire"
    assert stack.told(begun) == [down]
    machine.forget()
    ended = ("NodeDown", "resolved", NODE)
    wait_until(lambda: ended in stack.told(begun), timeout=40, failure="no sign of its end", hint="")
    assert stack.told(begun) == [down, ended]
    others = f'ALERTS{{alertname!="NodeDown", alertstate="firing", node="{NODE}"}}'
    assert prometheus.query(f"max_over_time({others}[5m])") == []
