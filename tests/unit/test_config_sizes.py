"""obsctl.yaml of any size, depth and form is refused in a sentence and soon, or read."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from obsctl.config.load import ConfigError, load

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGE_BOMB = "m0: &a0 {a: 1, b: 2}\n" + "".join(
    f"m{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
)

SOON = 10.0
"""Seconds of CPU, which a busy machine may need for what takes one elsewhere."""


def refusal(folder: Path, text: str, *, env: str | None = None, **environ: str) -> str:
    """What is said of this document, and soon: read without a limit, the bomb's 9**11 values would never end."""
    (folder / "obsctl.yaml").write_text(text if env is None else "stack: obs\n", encoding="utf-8")
    if env:
        (folder / f"obsctl.{env}.yaml").write_text(text, encoding="utf-8")
    begin = time.process_time()
    with pytest.raises(ConfigError) as caught:
        load(cwd=folder, env=env, environ=environ)
    assert time.process_time() - begin < SOON
    return caught.value.message


@pytest.mark.parametrize("text", [BOMB, MERGE_BOMB])
def test_a_document_that_grows_by_its_aliases_is_refused_at_once(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text).endswith("stands for more than 100,000 values")
    assert "obsctl.big.yaml:" in refusal(tmp_path, text, env="big")


def test_a_variable_that_grows_by_its_aliases_is_refused_too(tmp_path: Path) -> None:
    flow = "{" + BOMB.replace("\n", ",") + "}"
    words = refusal(tmp_path, "stack: obs\n", OBSCTL_LOGS__REDACT=flow)
    assert words == "OBSCTL_LOGS__REDACT: stands for more than 100,000 values"


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {b: *a}", "a: &a {<<: *a}"])
def test_a_value_that_contains_itself(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text) == "obsctl.yaml:1: contains itself"


@pytest.mark.parametrize("depth", [101, 200, 10_000])
@pytest.mark.parametrize("form", ["a: {begin}{end}", "{blocks}"])
def test_a_deep_document(tmp_path: Path, depth: int, form: str) -> None:
    blocks = "".join(" " * level + "a:\n" for level in range(min(depth, 600)))
    assert "nested" in refusal(tmp_path, form.format(begin="[" * depth, end="]" * depth, blocks=blocks))


def test_what_is_as_deep_as_allowed_is_only_wrong(tmp_path: Path) -> None:
    assert "unknown key" in refusal(tmp_path, "a: " + "[" * 90 + "]" * 90)


@pytest.mark.parametrize("value", ["1" * 5000, "0x" + "f" * 100_000, "!!bool x", "!!int ''"])
def test_what_is_no_number_takes_no_time(tmp_path: Path, value: str) -> None:
    assert refusal(tmp_path, f"stack: {value}") == (
        "obsctl.yaml:1 stack: is not a number; put it in quotes if it is text"
    )


def test_half_a_character(tmp_path: Path) -> None:
    assert "half a character" in refusal(tmp_path, 'stack: "\\ud800"')
    assert "a key must be text" in refusal(tmp_path, '"\\udfff": obs')


def test_of_many_errors_the_first_hundred_are_said(tmp_path: Path) -> None:
    words = refusal(tmp_path, "".join(f"k{number}: 1\n" for number in range(2000)))
    assert words.count("unknown key") == 100
