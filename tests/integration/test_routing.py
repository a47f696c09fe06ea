"""Our reading of Alertmanager's routes against amtool's own."""

import itertools
import subprocess

import pytest
import yaml

from obsctl.local.binaries import Binaries
from obsctl.stack.routing import routes

pytestmark = pytest.mark.real

CONFIG = {
    "route": {
        "receiver": "top",
        "routes": [
            {"receiver": "heartbeat", "matchers": ['alertname="Watchdog"']},
            {"receiver": "copy", "matchers": ['team!~"x.*"'], "continue": True},
            {
                "receiver": "people",
                "matchers": ['severity=~"critical|page"'],
                "routes": [
                    {"receiver": "night", "matchers": ['team="a b"'], "continue": True},
                    {"receiver": "quoted", "matchers": [r'team=~"a\\.b|\"q\""']},
                    {"matchers": ['team=""'], "routes": [{"receiver": "nobody", "matchers": ['alertname!=""']}]},
                ],
            },
            {"receiver": "newline", "matchers": [r'team="a\nb"'], "continue": True},
            {"receiver": "rest", "matchers": ["severity!=critical"], "continue": False},
            {"receiver": "never"},
        ],
    },
}
VALUES = {
    "alertname": ["Watchdog", "ServiceDown", None],
    "severity": ["critical", "page", "pages", None],
    "team": ["a b", "a.b", "aXb", '"q"', "xy", "a\nb", None],
}


@pytest.fixture(scope="module")
def amtool(tmp_path_factory):
    names = ["top", "heartbeat", "copy", "people", "night", "quoted", "nobody", "newline", "rest", "never"]
    file = tmp_path_factory.mktemp("amtool") / "alertmanager.yml"
    file.write_text(yaml.safe_dump({**CONFIG, "receivers": [{"name": name} for name in names]}))
    program = Binaries().provide("amtool").path

    def receivers(labels):
        pairs = [f'{name}="{_quoted(value)}"' for name, value in labels.items()]
        command = [str(program), "config", "routes", "test", f"--config.file={file}", *pairs]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().split(",")

    return receivers


def _quoted(value):
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


@pytest.mark.parametrize("chosen", list(itertools.product(*VALUES.values())), ids=repr)
def test_every_label_set_goes_where_amtool_says(amtool, chosen):
    labels = {name: value for name, value in zip(VALUES, chosen, strict=True) if value is not None}
    assert [route.receiver for route in routes(CONFIG, labels)] == amtool(labels)
