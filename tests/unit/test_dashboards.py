"""Which dashboards there are: shipped ones, the user's own, and files that are none."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from obsctl import assets, names
from obsctl.content import dashboards
from obsctl.errors import ObsctlError
from tests.world import NOWHERE, grafana_datasources


def write(root: Path, name: str, text: str = '{"title": "Mine"}') -> Path:
    path = root / "dashboards" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_those_that_ship_lie_in_folders() -> None:
    found = dashboards.load(NOWHERE)
    assert {dashboard.uid for dashboard in found} == {
        path.stem for path in (assets.shipped() / "dashboards").rglob("*.json")
    }
    assert "obsctl-overview" in {dashboard.uid for dashboard in found}
    assert all(dashboard.folder and dashboard.title for dashboard in found)


def test_their_datasources_are_those_that_grafana_is_given() -> None:
    given = {one["uid"]: one["type"] for one in grafana_datasources()["datasources"]}

    begin_at = {
        (variable["current"]["value"], variable["query"])
        for dashboard in dashboards.load(NOWHERE)
        for variable in dashboard.variables
        if variable["type"] == "datasource"
    }

    assert begin_at == {
        ("prometheus", "prometheus"),
        ("victorialogs", "victoriametrics-logs-datasource"),
        ("jaeger", "jaeger"),
    }
    assert begin_at <= set(given.items())


def test_a_list_of_fixed_values_says_twice_the_same() -> None:
    """Grafana shows the options at first, and reads the query when somebody edits or chooses."""
    found = 0
    for dashboard in dashboards.load(NOWHERE):
        for variable in (one for one in dashboard.variables if one["type"] == "custom"):
            said = [part.replace("\\,", ",").split(" : ") for part in re.split(r"(?<!\\), ", variable["query"])]
            options = [[one["text"], one["value"]] for one in variable["options"] if one["value"] != "$__all"]
            assert said == options
            found += 1
    assert found


def test_the_users_own_are_added(tmp_path: Path) -> None:
    write(tmp_path, "Shop/checkout.json")
    write(tmp_path, "loose.json")

    found = {dashboard.uid: dashboard for dashboard in dashboards.load(tmp_path)}

    assert (found["checkout"].folder, found["checkout"].title) == ("Shop", "Mine")
    assert found["loose"].folder == ""
    assert "obsctl-overview" in found


def test_one_of_the_same_name_replaces_the_shipped_one_whatever_its_folder(tmp_path: Path) -> None:
    path = write(tmp_path, "Mine/obsctl-overview.json")

    overview = [one for one in dashboards.load(tmp_path) if one.uid == "obsctl-overview"]

    assert [(one.path, one.folder) for one in overview] == [(path, "Mine")]


def test_in_the_checkout_nothing_comes_twice() -> None:
    found = dashboards.load(assets.shipped())
    assert found == dashboards.load(NOWHERE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        ("[]", "no JSON object"),
        (json.dumps({"x": "y" * 2**19}), "even without its spaces"),
        ("{}" + " " * 4_000_000, "larger than 4 MB"),
        ('{"x": NaN}', "NaN is no JSON"),
        ('{"x": ' + "9" * 5000 + "}", "Exceeds the limit"),
        (r'{"title": "\ud800"}', "surrogates not allowed"),
        ('{"x": ' + "[" * 150 + "]" * 150 + "}", "deeper than 100"),
        ('{"x": ' + '{"x": ' * 950 + "1" + "}" * 951, "deeper than 100"),
        ("[" * 100_000, "deeper than 100"),
        ("\ufeff{}", "BOM"),
    ],
)
def test_a_file_that_is_no_dashboard_is_named(tmp_path: Path, text: str, reason: str) -> None:
    path = write(tmp_path, "Shop/checkout.json", text)
    with pytest.raises(ObsctlError, match=reason) as caught:
        dashboards.load(tmp_path)
    assert str(path) in caught.value.message


def test_folders_in_folders_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "Shop/Till/checkout.json")
    with pytest.raises(ObsctlError, match="too deep") as caught:
        dashboards.load(tmp_path)
    assert caught.value.hint == f"move it to {tmp_path / 'dashboards/Shop/checkout.json'}"


def test_one_that_is_large_by_its_spaces_alone_loses_them(tmp_path: Path) -> None:
    """As public ones are, of which the exporter of hosts has the best known."""
    document = {"title": 'a  b \\" c', "n": [1e999, 1.0, "x  y"] * 20_000}
    write(tmp_path, "large.json", json.dumps(document, indent=8).replace("Infinity", "1e999"))
    [large] = [board for board in dashboards.load(tmp_path) if board.uid == "large"]
    assert large.document == document
    assert len(large.text) < names.CONSUL_VALUE_BYTES
    assert '"a  b \\\\\\" c"' in large.text
    assert "1e999" in large.text, "numbers stay as they are written"


@pytest.mark.parametrize("name", ['a"b', "c${x}", "d%{x}", "e{{x}}", "f\ng", "h\\i", "\x1b[2J"])
def test_a_name_that_would_be_code_in_the_job_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"{name}.json")
    with pytest.raises(ObsctlError, match="cannot be that of a file"):
        dashboards.load(tmp_path)


def test_other_odd_names_are_taken(tmp_path: Path) -> None:
    for name in ("ü 😀", "-x", "..", "50% (new) $1"):
        write(tmp_path, f"{name}.json")
    assert {"ü 😀", "-x", "..", "50% (new) $1"} <= {board.uid for board in dashboards.load(tmp_path)}


@pytest.mark.parametrize(("uid", "link"), [("till", "till"), ("", ""), (None, ""), (7, "")])
def test_a_link_names_the_uid_that_grafana_knows(tmp_path: Path, uid: object, link: str) -> None:
    write(tmp_path, "shop.json", json.dumps({"title": "Mine", "uid": uid}))
    assert [board.link for board in dashboards.load(tmp_path) if board.uid == "shop"] == [link]


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "Shop/checkout.json")
    write(tmp_path, "Till/checkout.json")
    with pytest.raises(ObsctlError, match="have the same name"):
        dashboards.load(tmp_path)
