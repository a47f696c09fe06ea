"""The variables of a dashboard: where a text names them, and what may stand in their place.

How Grafana finds them: public/app/features/variables/utils.ts, variableRegex.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

from obsctl.content.promql import STRING
from obsctl.model import Json

MAX_TRIES = 30
_LONG = 500
"""Characters. A parser takes its time over a long expression, so of such a one the likeliest text is tried alone."""
_VARIABLE = re.compile(
    r"\$(?P<plain>[a-zA-Z_]\w*)"
    r"|\$\{(?P<braced>[a-zA-Z_]\w*)(?:\.[^:}]{0,100})?(?::(?P<format>[^}]{0,100}))?\}"
    r"|\[\[(?P<old>[a-zA-Z_]\w*)(?::\w+)?\]\]",
    re.ASCII,
)
_OF_GRAFANA = (
    (re.compile(r"__(from|to)"), "1700000000"),
    (re.compile(r"__\w+_ms"), "60000"),
    (re.compile(r"__\w+_s"), "60"),
    (re.compile(r"__(rate_interval|interval|auto\w*|range)"), "1m"),
)
_DURATION = re.compile(r"(\d+(ms|[smhdwy]))+")
_UNIT = re.compile(r"(ms|[smhdwy])\b")
_AFTER_OFFSET = re.compile(r"\boffset\s+-?\s*$")
_ANYTHING = ("x", "1", "sum", "rate", "", "1m", "==", ',x="x"', 'x="x"')


@dataclass(frozen=True, slots=True)
class Use:
    """One place in a PromQL expression that names a variable. format: how Grafana writes its value, "" when it is not
    said. quoted: within a string."""

    name: str
    format: str
    start: int
    end: int
    quoted: bool


def variables_in(text: str) -> Iterator[str]:
    """The names of the variables that `$name`, `${name}`, `${name:format}` and `[[name]]` in the text stand for."""
    for match in _VARIABLE.finditer(text):
        yield _name(match)


def variable_of(text: str) -> str | None:
    """The variable that is the whole of the text; None when it is anything else."""
    match = _VARIABLE.fullmatch(text)
    return _name(match) if match else None


def _name(match: re.Match[str]) -> str:
    return match["plain"] or match["braced"] or match["old"]


def is_of_grafana(name: str) -> bool:
    """Whether Grafana itself gives it a value."""
    return name.startswith("__")


def uses(expr: str) -> list[Use]:
    strings = [match.span() for match in STRING.finditer(expr)]
    return [
        Use(
            _name(match),
            match["format"] or "",
            *match.span(),
            any(start < match.start() < end for start, end in strings),
        )
        for match in _VARIABLE.finditer(expr)
    ]


def texts(expr: str, variables: Sequence[Json]) -> Iterator[str]:
    """What the expression may be when its variables have values, the likeliest first.

    A value can be anything: a number, a duration, a part of a name, a function, a piece of a selector. What is known of
    it (its type, its list of values, where it stands) says what is tried first.
    """
    known = {str(variable.get("name")): _values(variable) for variable in variables}
    places = uses(expr)
    options = [_options(expr, use, known.get(use.name, ())) for use in places]
    tries = islice(_choices(options), MAX_TRIES if len(expr) <= _LONG else 1)
    return (_filled(expr, places, choice) for choice in tries)


def _choices(options: Sequence[Sequence[str]]) -> Iterator[Sequence[str]]:
    """The first of all; then one place after the other has another text; then more of them."""
    first = [each[0] for each in options]
    yield first
    for place, others in enumerate(options):
        for other in others[1:]:
            yield [*first[:place], other, *first[place + 1 :]]
    yield from product(*options)


def _filled(expr: str, places: Sequence[Use], choice: Sequence[str]) -> str:
    for use, text in reversed(list(zip(places, choice, strict=True))):
        expr = expr[: use.start] + text + expr[use.end :]
    return expr


def _options(expr: str, use: Use, known: Sequence[str]) -> Sequence[str]:
    if use.quoted or use.format.endswith(("quote", "string")):
        return ("x" if use.quoted else '"x"',)
    before, after = expr[: use.start], expr[use.end :]
    if is_of_grafana(use.name):
        return (next((text for pattern, text in _OF_GRAFANA if pattern.fullmatch(use.name)), use.name),)
    if _UNIT.match(after):
        return (*known, "1", use.name)
    if _is_open(before, "[]") or _AFTER_OFFSET.search(before[-30:]):
        return (*filter(_DURATION.fullmatch, known), "1m", *known)
    if _is_open(before, "{}") and after[:30].lstrip().startswith("}"):
        return (*known, "", 'x="x"', ',x="x"')
    return (*known, use.name, *_ANYTHING)


def _is_open(before: str, brackets: str) -> bool:
    return before.rfind(brackets[0]) > before.rfind(brackets[1])


def _values(variable: Json) -> Sequence[str]:
    """Those that the dashboard itself has: of a list, or of a constant or text."""
    query = variable.get("query")
    if not isinstance(query, str):
        return ()
    match variable.get("type"):
        case "custom" | "interval":
            listed = [part.replace("\\,", ",").strip() for part in re.split(r"(?<!\\),", query)]
            values = [part.split(" : ")[-1].strip() for part in listed]
            return [value for value in values if value][:2]
        case "constant" | "textbox":
            return [query]
    return ()
