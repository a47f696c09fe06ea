"""What holds for every config: it renders, deploys to an empty plan, and shows no secret."""

from __future__ import annotations

from typing import Any

import promql_parser
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from obsctl.clients.protocols import KvPair
from obsctl.config.schema import Config
from obsctl.stack.observe import Desired, Observed, ObservedJob
from obsctl.stack.plan import plan
from obsctl.stack.render import render
from tests.fakes.nomad import NODE
from tests.world import NOWHERE, World

LAW = settings(derandomize=True, deadline=None, max_examples=40)

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
LINES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)
SEVERITIES = st.sampled_from(["critical", "warning", "info"])
REFERENCES = st.sampled_from(["env:A", "file:/b", "nomad-var:c#d"])
TOKENS = st.sampled_from([{}, {"token": "env:TOKEN"}])
CHANNELS: dict[str, Any] = {
    "webhook": st.fixed_dictionaries({"url": REFERENCES}),
    "slack": st.fixed_dictionaries({"api_url": REFERENCES, "channel": LINES}),
    "pagerduty": st.fixed_dictionaries({"routing_key": REFERENCES}),
    "email": st.fixed_dictionaries(
        {"to": LINES, "from": LINES, "smarthost": st.just("m:25")},
        optional={"username": LINES, "password": REFERENCES},
    ),
}
RECEIVERS = st.builds(
    lambda name, more, channels: {"name": f"to-{name}", **more, **channels},
    NAMES,
    st.fixed_dictionaries({}, optional={"severities": st.lists(SEVERITIES, max_size=3)}),
    st.fixed_dictionaries({}, optional=CHANNELS).filter(bool),
)
OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.booleans(),
        "for": st.sampled_from(["2s", "1h30m"]),
        "severity": SEVERITIES,
        "labels": st.dictionaries(st.sampled_from(["team", "a1"]), LINES),
        "annotations": st.dictionaries(st.sampled_from(["runbook_url", "summary"]), LINES),
    },
)
STORAGE = st.sampled_from([{}, *({"storage": {"kind": kind}} for kind in ("ephemeral", "host", "dynamic"))])
CONFIGS = (
    st.fixed_dictionaries(
        {"stack": NAMES, "timing": st.sampled_from(["fast", "standard", "relaxed"])},
        optional={
            "driver": st.sampled_from(["docker", "podman", "exec", "raw_exec"]),
            "demo": st.fixed_dictionaries({"enabled": st.booleans()}),
            "nomad": TOKENS,
            "consul": TOKENS.map(lambda token: {"address": "https://consul.example", "datacenter": "dc1", **token}),
            "components": st.fixed_dictionaries(
                {"prometheus": STORAGE, "alertmanager": STORAGE, "alert-sink": STORAGE}
            ),
            "services": st.dictionaries(
                NAMES, st.fixed_dictionaries({}, optional={"job": NAMES, "severity": SEVERITIES})
            ),
            "alerting": st.fixed_dictionaries(
                {},
                optional={
                    "copy_to_sink": st.booleans(),
                    "receivers": st.lists(RECEIVERS, max_size=3, unique_by=lambda receiver: receiver["name"]),
                    "rules": st.dictionaries(st.sampled_from(["InstanceDown", "Watchdog"]), OVERRIDES),
                },
            ),
        },
    )
    .filter(lambda keys: keys.get("driver") != "raw_exec" or "dynamic" not in str(keys))
    .map(Config.model_validate)
)


def as_it_should_be(desired: Desired) -> Observed:
    """The cluster on which everything is as desired."""
    jobs = {job.job_id: ObservedJob(job.job_id, 7, job.job["Meta"], stopped=False) for job in desired.jobs}
    content = {item.key: KvPair(item.key, item.value.encode(), 7) for item in desired.content}
    volumes = tuple({"Name": volume.name, "NodeID": NODE["ID"]} for volume in desired.volumes)
    return Observed(jobs, content, {path: (7, True) for path in desired.variables}, (NODE,), volumes)


@LAW
@given(CONFIGS)
def test_every_config_renders_twice_the_same_and_every_file_is_readable(wanted: Config) -> None:
    rendered = render(wanted, NOWHERE)
    assert render(wanted, NOWHERE) == rendered
    for item in rendered.content:
        if item.key.endswith(".ini") or "/dashboards/" in item.key:
            continue  # other formats, with tests of their own
        document = yaml.safe_load(item.value)
        for rule in document[0]["rules"] if "/rules/" in item.key else []:
            promql_parser.parse(rule["expr"])
    for job in rendered.jobs:
        assert job.hcl.count("{") == job.hcl.count("}")


@LAW
@given(CONFIGS)
def test_what_is_as_desired_needs_no_change(wanted: Config) -> None:
    desired = World().desire(wanted)
    assert plan(desired, as_it_should_be(desired)).effective == ()


@settings(LAW, max_examples=15)
@given(CONFIGS, CONFIGS)
def test_a_deploy_leaves_nothing_to_do_whatever_stood_there_before(before: Config, wanted: Config) -> None:
    world = World()
    world.deploy(before.model_copy(update={"stack": wanted.stack}))
    world.deploy(wanted)
    assert world.plan(wanted).effective == ()
    running = {job["ID"] for job in world.nomad.jobs() if not job["Stop"]}
    assert running == {job.job_id for job in render(wanted, NOWHERE).jobs}


@settings(LAW, max_examples=15)
@given(CONFIGS)
def test_no_secret_is_in_anything_that_is_shown_or_stored_outside_of_variables(wanted: Config) -> None:
    world = World()
    desired, observed = world.seen(wanted)
    made = plan(desired, observed)
    world.deploy(wanted)
    shown = [render(wanted, NOWHERE), desired, observed, made, made.to_dict(), world.events]
    stored = [world.nomad.called("register_job"), world.consul.entries("")]
    kept = [world.nomad.variable(path) for path in desired.variables]
    values = {value for variable in kept if variable for value in variable.items.values()}
    generated = {secret.reveal() for items in desired.variables.values() for secret in items.values()}
    assert [value for value in values | generated if value in repr(shown) + repr(stored)] == []
