"""Templates of jobs and configuration files, in Jinja's sandbox: who writes one may write text, and run nothing."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemBytecodeCache, FunctionLoader, StrictUndefined, TemplateSyntaxError
from jinja2.loaders import split_template_path
from jinja2.sandbox import ImmutableSandboxedEnvironment

from obsctl import files, names
from obsctl.config.durations import format_duration
from obsctl.errors import ObsctlError
from obsctl.stack import quoting

_PLAIN = (str, int, float, list, tuple, dict)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Calls only what obsctl gives to templates, Jinja's own, and the methods of plain values.

    Jinja alone would call each method of an object, and pydantic's models have one that unpickles.
    """

    def is_safe_callable(self, obj: Any) -> bool:
        owner = getattr(obj, "__self__", None)
        return super().is_safe_callable(obj) and (
            isinstance(owner, _PLAIN)
            or any(type(part).__module__.startswith("jinja2.") for part in (obj, owner))
            or getattr(obj, "__module__", None) == names.__name__
            or any(obj == value for value in self.globals.values() if callable(value))
        )


def _loader(folders: Sequence[Path]) -> FunctionLoader:
    """Takes a template from the first of the folders that has it, unless others may have written it."""

    def load(name: str) -> tuple[str, str, Callable[[], bool]] | None:
        for folder in folders:
            file = folder.joinpath(*split_template_path(name))
            if file.exists():
                files.refuse_foreign(file, within=folder.parent)
                return files.read(file).decode(), str(file), lambda: True
        return None

    return FunctionLoader(load)


def environment(values: Mapping[str, object], folders: Sequence[Path], compiled: Path | None) -> Environment:
    """Finds templates in these folders. values: what all of them see.

    compiled: a folder that nobody else can write to, in which Python's code of templates is kept.
    """
    sandbox = _Sandbox(
        loader=_loader(folders),
        bytecode_cache=FileSystemBytecodeCache(str(compiled)) if compiled else None,
        undefined=StrictUndefined,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<%=",
        variable_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # HCL and YAML, never HTML
    )
    sandbox.filters |= {"duration": format_duration, "hcl": quoting.hcl, "ottl": quoting.ottl, "yaml": quoting.yaml}
    sandbox.globals |= values
    return sandbox


def text(environment: Environment, template: str, **values: object) -> str:
    """The template filled in. Raises ObsctlError that names its file and line."""
    try:
        lines = environment.get_template(template).render(**values).split("\n")
    except ObsctlError:
        raise
    except Exception as error:  # a template is code: it can raise anything
        message = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        raise ObsctlError(
            f"{_place(error) or template}: {message}",
            hint="correct the template, or remove it: then the shipped one is used",
        ) from error
    return _without_blank_runs(lines)


def _place(error: Exception) -> str | None:
    """file:line of the wrong template; Jinja puts the lines of templates into the traceback."""
    if isinstance(error, TemplateSyntaxError):
        return f"{error.filename or error.name}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.endswith(".j2"):
            return f"{frame.filename}:{frame.lineno}"
    return None


def _without_blank_runs(lines: list[str]) -> str:
    """Macros leave blank lines: at most one in a row is kept, and none before a closing brace or at the edges."""
    result: list[str] = []
    for line in (line.rstrip() for line in lines):
        if not line and (not result or not result[-1] or result[-1].endswith("{")):
            continue
        if line.strip() == "}" and result and not result[-1]:
            result.pop()
        result.append(line)
    return "\n".join(result).strip("\n") + "\n"
