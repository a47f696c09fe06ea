"""YAML with places: every value knows the file and line it came from, or the environment variable."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace

import yaml

from obsctl.config import keys
from obsctl.config.growth import Overgrown, refuse_overgrown
from obsctl.config.secrets import looks_like_a_token
from obsctl.config.shapes import KeyPath
from obsctl.model import Finding, Severity, is_text

Scalar = str | int | float | bool | None
_KNOWN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}
_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_COMMENT = re.compile(r"\s*:\s+#\S")
_TEXT = "tag:yaml.org,2002:str"
_LONGEST_NUMBER = 100
_KEY = re.compile(r"[A-Za-z_*][A-Za-z0-9_.* -]{0,62}")
_PLAIN_WORDS = (
    (re.compile(r"'\\t'"), "a tab; indent with spaces"),
    (
        re.compile("alias|anchor|tag"),
        "a value that begins with *, & or ! has a special meaning in YAML; put it in quotes",
    ),
    (
        re.compile("expected ',' or|expected the node content"),
        'a "{" or "[" that is not closed; what follows a # is a comment, except in quotes',
    ),
    (re.compile("mapping values are not allowed"), 'a ":" in the wrong place; is the indentation right?'),
    (re.compile("simple key|expected ':'"), 'a key without ":", or wrong indentation'),
    (re.compile("another document"), "a second document (---); one file holds one"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value comes from. line: from 1 on; None for an environment variable, whose name is the source."""

    source: str
    line: int | None = None

    @property
    def order(self) -> tuple[str, int]:
        """By file, and then by line."""
        return self.source, self.line or 0

    def of(self, path: KeyPath) -> str:
        """The place of a finding about this key. The name of a variable says the key already."""
        return f"{self.source}:{self.line} {dotted(path)}".rstrip() if self.line else self.source


@dataclass(frozen=True, slots=True)
class Located:
    """A value and its place. Mappings and lists hold located values. note: why it may be empty without intent."""

    value: dict[str, Located] | list[Located] | Scalar
    place: Place
    note: str = ""


def dotted(path: KeyPath) -> str:
    """("receivers", 0, "name") -> "receivers[0].name"; a step that may be a misplaced secret is left out."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{_shown(step)}" for step in path).lstrip(".")


def _shown(key: str) -> str:
    """The key, unless it has the form of no key, or of a token."""
    return key if _KEY.fullmatch(key) and not looks_like_a_token(key) else "…"


def entries(located: Located, kind: object) -> dict[str, object]:
    """A mapping of this kind without places. An empty value means the default, so an empty known key is left out; an
    unknown one stays and is reported."""
    below = located.value if isinstance(located.value, dict) else {}
    known = keys.known(kind)
    return {
        key: _plain(value, known.get(key) or keys.entry(kind))
        for key, value in below.items()
        if value.value is not None or key not in known
    }


def _plain(located: Located, kind: object) -> object:
    if isinstance(located.value, list):
        return [_plain(below, keys.item(kind)) for below in located.value]
    if isinstance(located.value, dict) or (located.value is None and keys.known(kind)):
        return entries(located, kind)
    return located.value


def nested(path: KeyPath, located: Located) -> Located:
    """A document with only this value, at this path."""
    for step in reversed(path):
        located = Located({str(step): located}, located.place)
    return located


def merge(base: Located, over: Located, *, keep: bool = False) -> Located:
    """`over` laid over `base`: mappings are merged key by key, lists and single values replaced.

    keep: an empty value of `over` replaces nothing.
    """
    if keep and over.value is None:
        return base
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, value in over.value.items():
        merged[key] = merge(merged[key], value, keep=keep) if key in merged else value
    return Located(merged, base.place)


def sources(located: Located) -> list[str]:
    """Every file and variable that a value came from, in the order they are met."""
    below = list(located.value.values()) if isinstance(located.value, dict) else located.value
    children = below if isinstance(below, list) else []
    entries = [source for child in children for source in sources(child)]
    return list(dict.fromkeys([located.place.source, *entries]))


def nearest(located: Located, path: KeyPath) -> Place:
    """The place of the value at this path, or of the nearest existing one above it."""
    for step in path:
        below = _below(located, step)
        if below is None:
            break
        located = below
    return located.place


def at(located: Located, path: KeyPath) -> Located | None:
    """The value at this path; None when there is none."""
    for step in path:
        below = _below(located, step)
        if below is None:
            return None
        located = below
    return located


def _below(located: Located, step: str | int) -> Located | None:
    below = located.value
    if isinstance(below, dict):
        return below.get(str(step))
    return below[step] if isinstance(below, list) and isinstance(step, int) and step < len(below) else None


def parse(text: str, place: Place) -> tuple[Located | None, list[Finding]]:
    """The document of a file (with lines) or a variable, and what is wrong with it. None when it is not YAML."""
    reading = _Reading(place)
    try:
        document = reading.document(text)
    except RecursionError:
        return None, [_finding(place.of(()), "is nested too deeply")]
    except Overgrown as error:
        mark = error.problem_mark
        return None, [_finding(_at(place, mark.line + 1) if mark else place.source, str(error.problem))]
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return None, [_finding(_at(place, line), f"a character that is not allowed in text (code {error.character})")]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = _at(place, mark.line + 1, mark.column + 1) if mark else place.source
        return None, [_finding(where, f"is not YAML: {_in_plain_words(error.problem or '')}")]
    return document, reading.findings


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads dates as text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  the name and the form are PyYAML's
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def scan_flow_scalar(self, style: str) -> yaml.ScalarToken:
        """JSON escapes a character beyond the basic plane as two, which YAML alone takes for two halves."""
        token: yaml.ScalarToken = super().scan_flow_scalar(style)
        if not is_text(token.value):
            token.value = token.value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return token


class _Reading:
    """One pass over the nodes of a document."""

    def __init__(self, place: Place) -> None:
        self.findings: list[Finding] = []
        self._place = place

    def document(self, text: str) -> Located:
        self._loader = _Loader(text)
        self._lines = text.split("\n")
        try:
            node = self._loader.get_single_node()
            refuse_overgrown(node)
            document = self._located(node, self._of(node), ()) if node else Located(None, self._place)
            return Located({}, self._place) if document.value is None else document
        finally:
            self._loader.dispose()

    def _of(self, node: yaml.Node) -> Place:
        return Place(self._place.source, node.start_mark.line + 1) if self._place.line else self._place

    def _located(self, node: yaml.Node, place: Place, path: KeyPath) -> Located:
        if node.tag not in _KNOWN_TAGS:
            self._problem(place, path, "a value that begins with ! has a special meaning in YAML; put it in quotes")
            return Located(None, place)
        if isinstance(node, yaml.MappingNode):
            return Located(self._mapping(node, path), place)
        if isinstance(node, yaml.SequenceNode):
            items = [self._located(item, self._of(item), (*path, n)) for n, item in enumerate(node.value)]
            return Located(items, place)
        return Located(self._scalar(node, place, path), place)

    def _scalar(self, node: yaml.Node, place: Place, path: KeyPath) -> Scalar:
        if node.tag in _NUMBERS and ":" in node.value:
            return str(node.value)  # 22:30 is a time of the day to people, and 1350 to YAML 1.1
        words = "is not a number; put it in quotes if it is text"
        if not is_text(node.value):
            words = "has half a character (a surrogate), which is no text"
        elif node.tag == _TEXT or len(node.value) <= _LONGEST_NUMBER:
            with suppress(ValueError, LookupError):
                value: Scalar = self._loader.construct_object(node)
                return value
        self._problem(place, path, words)
        return None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Located]:
        self._refuse_repeated(node, path)
        self._loader.flatten_mapping(node)  # `<<: *anchor`: what is merged comes first, so that own keys win
        entries: dict[str, Located] = {}
        for key, value in node.value:
            if key.tag != _TEXT or not isinstance(key, yaml.ScalarNode) or not is_text(key.value):
                self._problem(self._of(key), path, "a key must be text; put it in quotes")
            else:
                below = self._located(value, self._of(key), (*path, key.value))
                entries[key.value] = replace(below, note=self._note(key)) if below.value is None else below
        return entries

    def _note(self, key: yaml.Node) -> str:
        """What may have been meant by a key without a value."""
        rest = self._lines[key.end_mark.line : key.end_mark.line + 1]
        if rest and _COMMENT.match(rest[0], key.end_mark.column):
            return 'YAML takes what follows # for a comment; put the value in quotes, like "#alerts"'
        return ""

    def _refuse_repeated(self, node: yaml.MappingNode, path: KeyPath) -> None:
        lines: dict[object, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in lines:
                self._problem(self._of(key), (*path, key.value), f"is already given in line {lines[key.value]}")
            elif isinstance(key, yaml.ScalarNode):
                lines[key.value] = key.start_mark.line + 1

    def _problem(self, place: Place, path: KeyPath, what: str) -> None:
        self.findings.append(_finding(place.of(path), what))


def _finding(where: str, what: str) -> Finding:
    return Finding(Severity.ERROR, where, what)


def _at(place: Place, line: int, column: int | None = None) -> str:
    if not place.line:
        return place.source
    return f"{place.source}:{line}" + (f":{column}" if column else "")


def _in_plain_words(problem: str) -> str:
    """PyYAML's message, unless it says too little or repeats a name that could be a misplaced secret."""
    return next((words for pattern, words in _PLAIN_WORDS if pattern.search(problem)), problem)
