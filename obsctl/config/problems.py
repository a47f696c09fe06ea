"""From pydantic's errors to findings in plain words. No finding repeats a value that could be a secret."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from obsctl.config import keys
from obsctl.config.located import Located, at, dotted, nearest
from obsctl.config.schema import Config
from obsctl.config.shapes import Clash, KeyPath, Misfit
from obsctl.model import Finding, Severity

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Problem = tuple[KeyPath, str]
Model = TypeVar("Model", bound=BaseModel)
MOST = 100
"""So many single values are reported at once: suggestions for thousands would take minutes."""
_WORDS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping (lines of key: value)",
    "enum": "must be {expected}",
    "finite_number": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge}",
    "int_type": "must be a whole number",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "missing": "is missing and has no default",
    "model_type": "must be a mapping (lines of key: value)",
    "string_too_short": "must not be empty",
    "string_type": "must be text; put it in quotes",
    "tuple_type": "must be a list",
}


def validate(document: Mapping[str, object], root: Path) -> Config | list[Problem]:
    """The config, or every problem. root: the folder of obsctl.yaml.

    When single values are wrong, they are left out and the rest is checked once more for values that do not fit
    together. What does not fit to the default of a left out value is not counted.
    """
    try:
        return Config.model_validate(document, context={"root": str(root)})
    except ValidationError as error:
        problems = list(islice(_alone(error), MOST)) + [(misfit.path, misfit.words) for misfit in _misfits(error)]
    wrong = {path[:2] for path, _ in problems}
    try:
        Config.model_validate(_without(document, wrong), context={"root": str(root)})
    except ValidationError as error:
        more = [misfit for misfit in _misfits(error) if not {misfit.path[:2], misfit.other[:2]} & wrong]
        problems += [(misfit.path, misfit.words) for misfit in more]
    return problems


def check(document: Mapping[str, object], kind: type[Model]) -> Model | list[Problem]:
    """Another document than obsctl.yaml, or every problem of it."""
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        return [*islice(_alone(error, kind), MOST), *((misfit.path, misfit.words) for misfit in _misfits(error))]


def findings(problems: Iterable[Problem], document: Located) -> list[Finding]:
    """Each problem with its file and line, or its variable, in the order of the lines."""
    placed = [(nearest(document, path), path, _of_empty(words, at(document, path))) for path, words in problems]
    placed.sort(key=lambda each: each[0].order)
    return [Finding(Severity.ERROR, place.of(path), words) for place, path, words in placed]


def _of_empty(words: str, located: Located | None) -> str:
    """The words about a value, or better ones if it is there and empty."""
    if located is None or located.value is not None:
        return words
    words = "is empty" if words == _WORDS["missing"] else words
    return f"{words}; {located.note}" if located.note else words


def _without(document: Mapping[str, object], paths: set[KeyPath]) -> dict[str, object]:
    """A copy without the entries at these paths, which have one or two steps."""
    copy = {key: dict(value) if isinstance(value, dict) else value for key, value in document.items()}
    for path in paths:
        above: object = copy if len(path) < 2 else copy.get(str(path[0]))
        if isinstance(above, dict):
            above.pop(path[-1], None)
        else:
            copy.pop(str(path[0]), None)
    return copy


def _alone(error: ValidationError, top: object = Config) -> Iterator[Problem]:
    """The values that are wrong by themselves."""
    for details in _details(error):
        if not isinstance(_cause(details), Clash):
            yield _path(details), _words(details, top)


def _misfits(error: ValidationError) -> Iterator[Misfit]:
    """The values that do not fit to others; paths start at the top."""
    for details in _details(error):
        clash, above = _cause(details), details["loc"]
        for path, words, other in clash.misfits if isinstance(clash, Clash) else ():
            yield Misfit(above + path, words, above + other)


def _details(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False)


def _cause(details: ErrorDetails) -> object:
    return details.get("ctx", {}).get("error")


def _path(details: ErrorDetails) -> KeyPath:
    """pydantic reports a wrong free key one step below it."""
    path = details["loc"]
    return path[:-1] if path and path[-1] == "[key]" else path


def _words(details: ErrorDetails, top: object) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(details["loc"], top)
    if kind == "value_error":
        return str(context["error"])
    template = _WORDS.get(kind)
    if template is None:
        return details["msg"]
    return template.format(**{name: _double_quoted(value) for name, value in context.items()})


def _double_quoted(value: object) -> object:
    return value.replace("'", '"') if isinstance(value, str) else value


def _unknown(path: KeyPath, top: object) -> str:
    section = keys.kind_at(path[:-1], top)
    suggestion = _suggestion(str(path[-1]), section, top)
    if suggestion:
        return f'unknown key, did you mean "{suggestion}"?'
    return f"unknown key; there are {', '.join(keys.known(section))}"


def _suggestion(key: str, section: object, top: object) -> str | None:
    """The only section or the only key of this name elsewhere, or the nearest key of the section."""
    elsewhere = [path for path in keys.paths(top) if path[-1] == key]
    sections = [path for path in elsewhere if keys.known(keys.kind_at(path, top))]
    for paths in (sections, elsewhere):
        if len(paths) == 1:
            return dotted(paths[0])
    known = {name: name for name in keys.known(section)} | keys.python_names(section)
    close = get_close_matches(key.lower(), known, n=1, cutoff=0.65)
    return known[close[0]] if close else None
