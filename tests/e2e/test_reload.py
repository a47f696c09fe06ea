"""A deploy that changes a file alone ends when the program runs with it, or says why it does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
import yaml

from obsctl import assets
from obsctl.clients.instances import url
from tests.conftest import running_cluster
from tests.e2e.stack import Stack, write_config
from tests.world import ALERT_PATH

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.xdist_group("reload")]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Loki alone, on a cluster of its own."""
    with running_cluster() as cluster:
        stack = Stack(cluster, tmp_path_factory.mktemp("stack"))
        write_config(stack.folder, cluster, components=("loki",), demo=())
        for name in ALERT_PATH:
            stack.change(name, enabled=False)
        stack.run("deploy", "--yes")
        yield stack


def retention(stack: Stack) -> str:
    """As the Loki that runs now has it."""
    [entry] = stack.clients.consul.health("loki")
    answer = requests.get(f"{url(entry)}/config", timeout=10)
    answer.raise_for_status()
    return str(yaml.safe_load(answer.text)["limits_config"]["retention_period"])


def test_the_program_runs_with_what_was_changed(stack: Stack) -> None:
    before = retention(stack)
    stack.change("loki", retention="2d")
    stack.run("deploy", "--yes")
    assert (before, retention(stack)) == ("1w", "2d")


def test_a_file_that_the_program_refuses_ends_the_deploy_with_its_words(stack: Stack) -> None:
    shipped = assets.shipped() / "templates" / "loki" / "loki.yml.j2"
    own = stack.folder / "templates" / "loki" / "loki.yml.j2"
    own.parent.mkdir(parents=True)
    own.write_text(shipped.read_text() + "\nnonsense: true\n")

    ended = stack.run("deploy", "--yes", code=1)

    assert "obs-loki does not run with the new config/loki.yml" in ended.stderr
    assert "field nonsense not found" in ended.stderr
    assert "changed: nothing" in ended.stderr

    own.unlink()
    stack.run("deploy", "--yes")
    assert retention(stack) == "2d"
