"""Patterns for the collector: what RE2 understands passes, what it does not is said with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from obsctl.config.load import ConfigError, load
from obsctl.stack.render import render
from tests.world import NOWHERE, config

UNDERSTOOD = [
    r"password=\S+",
    r"(?i)bearer [a-z0-9._-]+",
    r'"token": ?"[^"]*"',
    r"\b(?:\d{4}[ -]?){3}\d{4}\b",
    r"[(?=]x",
    r"a\(?=b",
    r"(?P<user>\w+)@\pL+\.\p{Greek}+",
    r"x\z",
    r"\x{1F600}x",
    r"[a&&b]x",
    r"a{1000}b{0,1000}",
    r"a\{,3}b",
    r"\Q(?=\Ex",
    r"[[:alpha:]]+=x",
    r"a\\+b",
    r"(?s-i:a.b)",
]
REFUSED = {
    r"(?<=password=)\S+": "looks ahead or behind",
    r"pass(?!word)\w+": "looks ahead or behind",
    r"(['\"])secret\1": "refers back to a group",
    r"(?P<q>['\"])x(?P=q)": "refers back to a group",
    r"\d++x": "possessive repetition",
    r"(?>a+)b": "has a group that begins with",
    r"(?x) a b": "has a flag other than",
    r"x{,3}y": "has a repetition without a lowest number",
    r"a{1001}": "more than 1000 times",
    r"a{1,1001}": "more than 1000 times",
    r"x\Z": r"has \Z",
    r"x\u0041": r"has \Z, \u",
    r"\N{DIGIT ONE}": r"has \Z, \u",
    r"(unclosed": "is no pattern",
    r"[a": "is no pattern",
    r"*": "is no pattern",
    r"x*": "matches an empty text",
    "two\nlines": "must be one line",
    "": "must not be empty",
}


@pytest.mark.parametrize("pattern", UNDERSTOOD)
def test_what_the_collector_understands_passes(pattern: str) -> None:
    assert config(logs={"redact": [pattern]}).logs.redact == (pattern,)


@pytest.mark.parametrize("pattern", REFUSED)
def test_what_it_does_not_is_a_fault_with_its_place(pattern: str, tmp_path: Path) -> None:
    file = tmp_path / "obsctl.yaml"
    file.write_text(f"logs:\n  redact:\n    - fine\n    - {json.dumps(pattern)}\n")
    with pytest.raises(ConfigError) as caught:
        load(file, environ={}, cwd=tmp_path)
    [finding] = caught.value.findings
    assert finding.where == "obsctl.yaml:4 logs.redact[1]"
    assert REFUSED[pattern] in finding.what


def test_a_pattern_reaches_the_agent_as_it_is_written() -> None:
    """Neither its quotes and backslashes nor its dollars mean anything to the file that it stands in."""
    on = {"enabled": True}
    parts = {"victorialogs": on, "otel-gateway": on, "otel-agent": on}
    files = render(config(logs={"redact": [r'"a\$${env:HOME}']}, components=parts), NOWHERE).files()
    text = files["kv/obsctl/obs/config/otel-agent.yml"]
    assert r"replace_pattern(log.body, \"\\\"a\\\\$$$${env:HOME}\", \"***\")" in text


def test_without_patterns_nothing_is_looked_for() -> None:
    on = {"enabled": True}
    files = render(config(components={"victorialogs": on, "otel-gateway": on, "otel-agent": on}), NOWHERE).files()
    assert "redact" not in files["kv/obsctl/obs/config/otel-agent.yml"]
