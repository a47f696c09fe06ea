"""Experiments as files."""

import re

import pytest

from obsctl.config.load import ConfigError
from obsctl.drills.plan import experiment
from obsctl.errors import ObsctlError

SOUND = """
fault: kill
service: shop
"""


@pytest.fixture
def read(tmp_path):
    def read_one(text):
        file = tmp_path / "one.yaml"
        file.write_text(text)
        return experiment.from_file(file, tmp_path)

    return read_one


def test_what_a_file_does_not_say_is_as_in_the_library(read):
    described, written = read(SOUND)
    assert described == experiment.load("kill", "shop")
    assert (written.hold, written.deadline) == (0.0, None)


def test_what_it_says_counts_in_the_place_of_the_library(read):
    described, written = read(
        SOUND
        + """
title: A crash of the shop
parameters: {instances: 2, task: web}
expect:
  - labels: {alertname: ServiceDown, service: shop}
    within: 45s
  - labels: {alertname: ShopErrors}
allow: [{alertname: "*"}]
hold: 10s
deadline: 2m
"""
    )
    assert described.title == "A crash of the shop"
    assert described.parameters == {"instances": 2, "task": "web"}
    assert list(described.expect) == ["ServiceDown shop", "ShopErrors"]
    assert described.within == {"ServiceDown shop": 45.0}
    assert described.forbid == {}
    assert described.allow == ({"alertname": "*"},)
    assert (written.hold, written.deadline) == (10.0, 120.0)


def test_an_experiment_survives_its_journal(read):
    described, _ = read(SOUND + "expect: [{labels: {alertname: A}, within: 9s}]")
    assert experiment.Experiment.from_dict(described.to_dict()) == described


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("fault: [", "is not YAML"),
        ("service:", "one.yaml:1 service: is empty"),
        ("fault: kil\nservice: shop", "one.yaml:1 fault: there is no fault 'kil'"),
        ("fault: kill\nservice: shop\nhold: 5", "one.yaml:3 hold: write a duration with its unit"),
        ("fault: kill\nservice: shop\nexpected: []", 'one.yaml:3 expected: unknown key, did you mean "expect"?'),
        ("fault: kill\nservice: shop\nexpect:\n- labels: {service: shop}", "needs the label alertname"),
        ("fault: kill\nservice: shop\nexpect: []", "the drill would prove nothing"),
        ("fault: kill\nservice: shop\nexpect: []\nforbid: []", "the drill would prove nothing"),
        ("fault: kill\nservice: shop\nparameters: {instances: none}", "one.yaml:3 parameters: instances of the fault"),
        ("fault: kill\nservice: shop\nparameters: {amount: 1}", "has no parameter amount"),
        ("- 1", "must be a mapping"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(read, line, what):
    with pytest.raises(ObsctlError, match=re.escape(what)):
        read(line)


def test_all_problems_are_named_at_once(read):
    with pytest.raises(ConfigError) as failure:
        read("fault: kill\nservices: shop\nhold: 5")
    assert "the experiment one.yaml has 3 errors" in failure.value.message


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ObsctlError, match=r"none\.yaml"):
        experiment.from_file(tmp_path / "none.yaml", tmp_path)
