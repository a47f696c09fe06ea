"""What holds for every document and every config: merging, places, and writing what was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from obsctl.config.catalog import PROGRAMS
from obsctl.config.durations import format_duration
from obsctl.config.keys import ANY, kind_at, paths
from obsctl.config.located import Located, Place, entries, merge, nearest, parse
from obsctl.config.problems import validate
from obsctl.config.schema import Config
from obsctl.config.written import as_document, as_yaml

ROOT = Path("/root-of-config")
PLACE = Place("file", 1)

keys = st.sampled_from("abc")
leaves = st.integers(0, 9) | st.text("xyz", max_size=2) | st.lists(st.integers(0, 9), max_size=2)
documents = st.dictionaries(keys, st.recursive(leaves, lambda inner: st.dictionaries(keys, inner), max_leaves=8))


def located(document: object) -> Located:
    found, faults = parse(yaml.safe_dump(document), PLACE)
    assert found is not None
    assert faults == []
    return found


def plain(found: Located) -> dict[str, object]:
    return entries(found, None)


@given(document=documents)
def test_reading_yaml_with_places_gives_the_same_values_as_without(document: dict[str, Any]) -> None:
    assert plain(located(document)) == document


@given(document=documents)
def test_merging_with_nothing_or_itself_changes_nothing(document: dict[str, Any]) -> None:
    one = located(document)
    assert plain(merge(one, located({}))) == plain(merge(located({}), one)) == plain(merge(one, one)) == document


@given(base=documents, over=documents)
def test_a_merge_keeps_what_is_over_and_the_other_keys_below(base: dict[str, Any], over: dict[str, Any]) -> None:
    merged = plain(merge(located(base), located(over)))
    assert set(merged) == {*base, *over}
    assert_within(over, merged)
    assert all(merged[key] == base[key] for key in base.keys() - over.keys())


def assert_within(part: dict[str, Any], whole: Any) -> None:
    for key, value in part.items():
        if isinstance(value, dict) and isinstance(whole[key], dict):
            assert_within(value, whole[key])
        else:
            assert whole[key] == value


shallow = st.dictionaries(keys, leaves)


@given(first=shallow, second=shallow, third=shallow)
def test_merging_is_associative(first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]) -> None:
    one, two, three = located(first), located(second), located(third)
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(document=documents)
def test_every_key_has_the_line_it_stands_in(document: dict[str, Any]) -> None:
    lines = yaml.safe_dump(document).splitlines()
    found = located(document)
    for path in mapping_paths(document):
        line = nearest(found, path).line
        assert line is not None
        assert lines[line - 1].strip().startswith(f"{path[-1]}:")


def mapping_paths(document: object, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(document, dict):
        return []
    return [found for key, below in document.items() for found in [(*above, key), *mapping_paths(below, (*above, key))]]


# Any valid config

names = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
references = st.sampled_from(["env:A_B", "file:/run/secret", "nomad-var:a/b#c"])
durations = st.integers(2_000, 10**9).map(lambda milliseconds: format_duration(milliseconds / 1000))
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=10)
resources = st.fixed_dictionaries({}, optional={"cpu": st.integers(1, 9999), "memory": st.integers(10, 9999)})


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with any of these keys; `_` stands for `-`, and `_for` for `for`."""
    return st.fixed_dictionaries({}, optional={key.lstrip("_"): value for key, value in fields.items()})


timing = st.sampled_from(["fast", "standard", "relaxed"]) | some(
    profile=st.sampled_from(["fast", "relaxed"]), _for=durations, group_wait=durations, repeat_interval=durations
)
server = some(
    address=names.map("https://{}:1234".format),
    token=st.sampled_from(["env:A_B", "file:/run/secret"]),
    tls=some(verify=st.booleans(), ca_file=texts.filter(str.strip)),
    timeout=durations,
)
http_configs = some(
    proxy_url=names.map("http://{}:1".format), authorization=st.fixed_dictionaries({"credentials": references})
)
others = st.fixed_dictionaries({"room_id": texts, "http_config": http_configs}, optional={"message": texts})
receiver = st.fixed_dictionaries(
    {"name": names},
    optional={
        "slack": st.fixed_dictionaries({"api_url": references, "channel": texts}),
        "telegram": st.fixed_dictionaries({"bot_token": references, "chat_id": st.integers(-(2**52), 2**52)}),
        "discord": st.fixed_dictionaries({"webhook_url": references}, optional={"http_config": http_configs}),
        "alertmanager": st.fixed_dictionaries({"webex_configs": st.lists(others, max_size=2)}),
        "matchers": st.lists(texts, max_size=2),
        "email": st.fixed_dictionaries({"to": texts, "from": texts, "smarthost": st.just("mail.example.org:587")}),
    },
)
configs = some(
    stack=names,
    driver=st.sampled_from(["docker", "podman", "exec", "raw_exec"]),
    timing=timing,
    nomad=server,
    consul=server,
    components=some(
        prometheus=some(port=st.integers(1, 1000), resources=resources, retention=durations),
        warden=some(enabled=st.booleans(), driver=st.sampled_from(["docker", "podman", "exec", "raw_exec"])),
    ),
    services=st.dictionaries(names, some(job=names, severity=names), max_size=3),
    alerting=some(
        receivers=st.lists(
            receiver.map(lambda each: {**each, "webhook": {"url": "env:URL"}}),
            max_size=3,
            unique_by=lambda each: each["name"],
        ),
        rules=st.dictionaries(texts, some(_for=durations, labels=st.dictionaries(keys, texts)), max_size=2),
        rule_files=st.lists(texts, max_size=2),
    ),
    drills=some(margin=durations, journal_dir=texts),
    demo=some(enabled=st.booleans(), requests_per_second=st.floats(0.1, 100)),
    servers=st.dictionaries(st.sampled_from(list(PROGRAMS)), texts),
)


@given(document=configs)
def test_what_is_shown_loads_to_the_same_config(document: dict[str, Any]) -> None:
    config = validate(document, ROOT)
    assert isinstance(config, Config), config
    shown, faults = parse(as_yaml(config), PLACE)
    assert shown is not None
    assert faults == []
    assert validate(entries(shown, Config), ROOT) == config
    assert validate(as_document(config), ROOT) == config


@given(path=st.sampled_from([path for path in paths() if ANY not in path]))
def test_a_mistyped_key_is_found_wherever_it_stands(path: tuple[str, ...]) -> None:
    """The last step with a letter doubled is never a key; its own name is suggested."""
    document: Any = {path[-1] + path[-1][-1]: {}}
    for step in reversed(path[:-1]):
        document = {step: document}
    faults = validate(document, ROOT)
    assert isinstance(faults, list)
    (fault,) = faults
    assert "unknown key" in fault[1]
    assert f'"{path[-1]}"' in fault[1]


def test_each_key_path_has_a_kind() -> None:
    found = [tuple(0 if step == ANY else step for step in path) for path in paths()]
    assert len(found) > 150
    assert all(kind_at(path) is not None for path in found)
