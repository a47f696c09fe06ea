"""What `obsctl serve` runs, as processes, and a Consul agent for them."""

from contextlib import ExitStack

import pytest
import requests

from obsctl.wait import wait_until
from tests.deliveries import SECRET
from tests.programs import Consul, Program, answers


@pytest.fixture
def start(tmp_path):
    """Starts programs; those still running when the test ends are killed."""
    with ExitStack() as programs:

        def start_one(*args, **options):
            program = Program(tmp_path / f"{args[0]}.log", *args, **options)
            programs.callback(program.cleanup)
            return program

        yield start_one


@pytest.fixture
def start_sink(start, tmp_path):
    def start_one(port=None, heartbeat=60, more=()):
        (tmp_path / "secret").write_text(SECRET)
        options = ("--data-dir", str(tmp_path / "data"), "--secret-file", str(tmp_path / "secret"))
        options += ("--heartbeat", str(heartbeat), *more)
        return start("alert-sink", *options, port=port).wait_alive()

    return start_one


@pytest.fixture(scope="module")
def consul(tmp_path_factory):
    agent = Consul(tmp_path_factory.mktemp("consul"))
    try:
        leader = f"{agent.url}/v1/status/leader"
        wait_until(
            lambda: answers(leader) and requests.get(leader, timeout=5).json(),
            timeout=60,
            failure="no sign of Consul",
            hint="",
        )
        agent.put("kv/minion_phrases", ["Bello!"])
        yield agent
    finally:
        agent.process.terminate()
        agent.process.wait(timeout=30)
