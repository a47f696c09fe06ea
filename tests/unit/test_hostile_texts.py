"""A text of obsctl.yaml stays a text in the files that Consul KV carries. For jobs Nomad's own parser is asked."""

from __future__ import annotations

import pytest
import yaml

from obsctl.stack.render import render
from tests.hostile_texts import ROUNDS, pair, replaced, texts
from tests.world import NOWHERE, config


def test_there_are_texts() -> None:
    assert ("nomad", "region") in texts()
    assert len(texts()) > 40


@pytest.mark.parametrize("number", ROUNDS)
def test_it_is_read_back_as_it_is(number: int) -> None:
    plain, odd, expected = pair(number)
    for before, after in zip(plain.content, odd.content, strict=True):
        if before.key.endswith((".ini", "/minion_phrases")):
            assert after.value == replaced(before.value, expected)
        else:
            assert yaml.safe_load(after.value) == replaced(yaml.safe_load(before.value), expected), before.key


def test_a_jobs_id_is_no_template_of_prometheus() -> None:
    wanted = config(services={"web": {"job": "{{query(1)}}"}})
    [rules] = [item.value for item in render(wanted, NOWHERE).content if item.key.endswith("/availability")]
    summaries = [rule["annotations"]["summary"] for rule in yaml.safe_load(rules)[0]["rules"]]
    assert 'job {{ "{{" }}query(1)}}.' in " ".join(summaries)
