"""What needs which Nomad or Consul: the table, what is refused by it, and that the handbook shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from obsctl.config.schema import Config
from obsctl.config.versions import NEEDS, SUPPORTED, Version, findings, parse, title, written
from obsctl.model import Severity

DOCS = (Path(__file__).parents[2] / "docs" / "versions.md").read_text(encoding="utf-8")
DYNAMIC = {"components": {"prometheus": {"storage": {"kind": "dynamic"}}}}
NEW = {"nomad": (2, 0, 5), "consul": (1, 22, 0)}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.6.1", (1, 6, 1)), ("1.11.2-beta.1+ent", (1, 11, 2)), ("1.22.0+ent", (1, 22, 0)), ("v2.0", (2, 0)),
        ("unknown", ()), ("", ()), ("9" * 5000, ()), ("1." + "9" * 5000, (1,)),
    ],
)  # fmt: skip
def test_a_version_is_read_as_servers_tell_it(text: str, version: Version) -> None:
    assert parse(text) == version


@pytest.mark.parametrize(
    ("server", "version", "severity"),
    [
        ("nomad", (1, 5, 17), Severity.ERROR), ("nomad", (1, 6, 0), None), ("nomad", (2, 0, 99), None),
        ("nomad", (2, 1, 0), Severity.WARNING), ("nomad", (3,), Severity.WARNING),
        ("consul", (1, 13, 9), Severity.ERROR), ("consul", (1, 14, 0), None), ("consul", (1, 22, 7), None),
        ("consul", (1, 23, 0), Severity.WARNING), ("consul", (2, 0, 0), Severity.WARNING),
    ],
)  # fmt: skip
def test_too_old_is_an_error_and_unknown_a_warning(server: str, version: Version, severity: Severity | None) -> None:
    found = list(findings(Config(), {**NEW, server: version}))
    assert [finding.severity for finding in found if finding.where == server] == ([severity] if severity else [])


def test_a_server_that_tells_no_version_is_not_called_old() -> None:
    found = findings(Config.model_validate(DYNAMIC), {**NEW, "nomad": parse("dev")})
    assert [(finding.severity, finding.where) for finding in found] == [(Severity.WARNING, "nomad")]
    assert "does not tell its version" in found[0].what


def test_what_a_server_cannot_do_is_named_with_the_version_that_can() -> None:
    [finding] = findings(Config.model_validate(DYNAMIC), {**NEW, "nomad": (1, 9, 7)})[:1]
    assert (finding.severity, finding.where) == (Severity.ERROR, "components.prometheus.storage.kind")
    assert finding.what == "dynamic host volumes need Nomad 1.10 or newer, and this is 1.9.7"
    assert "storage.kind: host" in finding.hint


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.what)
def test_every_need_is_within_what_is_supported_and_stops_at_its_version(need: object) -> None:
    everything = Config.model_validate({**DYNAMIC, "consul": {"workload_identity": True}})
    known = SUPPORTED[need.server]
    assert known.oldest < need.since <= known.newest, "else nobody could lack it, or nobody have it"
    for version, lacks in ((known.oldest, True), (need.since, False)):
        named = any(need.words in finding.what for finding in findings(everything, {**NEW, need.server: version}))
        assert named is (lacks and bool(list(need.asking_keys(everything))))


def test_the_handbook_has_the_table() -> None:
    rows = [f"| {need.what} | {title(need.server, need.since)} | {need.otherwise} |" for need in NEEDS]
    ranges = [f"| {server.capitalize()} | {written(known.oldest)} | {written(known.newest)} |"
              for server, known in SUPPORTED.items()]  # fmt: skip
    assert [row for row in (*rows, *ranges) if row not in DOCS] == []
    table = DOCS.split("## What needs a newer one")[1].split("##")[0]
    assert table.count("\n| ") == len(rows) + 1, "and no other rows"
