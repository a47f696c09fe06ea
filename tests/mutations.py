"""Documents that are no longer what they were: changed in their structure, or torn in their bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import yaml
from hypothesis import strategies as st

DEEP: Any = None
for _ in range(40):
    DEEP = [DEEP]
WORDS = [
    "", "x", "..", "/", "a/b", "*", "0", "-1", "1e400", "1h30m", "1y", "22:30", "true", "env:NAME", "env:",
    "file:/dev/null", "file:/proc/self/mem", "nomad-var:a#b", "http://127.0.0.1:4646", "http://[::1]:1", "http://[",
    "http://a:99999", "http://u:p@h", "${x}", "%{x}", "{{ .x }}", "<%= x %>", "a'b\"c\\d", "two\nlines", "\x00",
    "\x1b[2J", "\ud800", "\udfff", "😀", "é" * 300, "a" * 5000, "(" * 300, "(a+)+$", "[a-", "\\", "up",
    "sum(up) by (job", "+".join(["up"] * 1200), "(" * 600 + "up" + ")" * 600, "docker", "raw_exec", "alert-sink", "obs",
    "critical", "#alerts", "a@b", "mail:25", "1.6", "1.10.4", "sha256:" + "0" * 64,
]  # fmt: skip
ODD = [
    None,
    True,
    False,
    0,
    1,
    -1,
    3,
    65535,
    65536,
    10**30,
    0.5,
    1e308,
    float("inf"),
    float("nan"),
    [],
    {},
    [[]],
    {"": {}},
    DEEP,
]
VALUES = st.sampled_from([*ODD, *WORDS]).map(deepcopy) | st.text(max_size=8) | st.integers() | st.floats()


def _places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    below = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in below:
        yield from _places(value, (*path, key))


@st.composite
def changed(draw: st.DrawFn, document: Any, changes: int = 3) -> Any:
    """The document with some values replaced, removed, repeated, renamed or added."""
    document = deepcopy(document)
    for _ in range(draw(st.integers(0, changes))):
        path = draw(st.sampled_from(list(_places(document))))
        value = draw(VALUES)
        if not path:
            document = value if draw(st.integers(0, 9)) == 0 else document
            continue
        above = document
        for step in path[:-1]:
            above = above[step]
        _change(above, path[-1], value, draw(st.sampled_from(["replace", "remove", "rename", "nest", "other"])))
    return document


def _change(above: Any, step: Any, value: Any, how: str) -> None:
    if how == "replace":
        above[step] = value
    elif how == "remove":
        del above[step]
    elif how == "nest":
        above[step] = [above[step]] if isinstance(value, str) else {str(value): above[step]}
    elif isinstance(above, list):
        above.append(value)
    else:
        above[str(value)] = above[step]


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()


def as_yaml(document: Any) -> bytes:
    return yaml.safe_dump(document, allow_unicode=False, sort_keys=False).encode(errors="replace")


@st.composite
def torn(draw: st.DrawFn, content: bytes) -> bytes:
    """The file with some of its bytes cut out, doubled or replaced."""
    for _ in range(draw(st.integers(0, 2))):
        begin = draw(st.integers(0, len(content)))
        end = min(len(content), begin + draw(st.sampled_from([0, 1, 2, 20, 500])))
        piece = draw(
            st.sampled_from([b"", b"\x00", b"\xff", b"\t", b"\n", b"&a *a", b"{", b"]", b": ", content[begin:end] * 3])
        )
        content = content[:begin] + piece + content[end:]
    return content


@st.composite
def written(draw: st.DrawFn, document: Any) -> bytes:
    """Mostly as it should be written, at times torn."""
    try:
        content = draw(st.sampled_from([as_json, as_yaml]))(document)
    except (RecursionError, ValueError, yaml.YAMLError):
        content = as_json(str(document))
    return draw(torn(content)) if draw(st.integers(0, 4)) == 0 else content
