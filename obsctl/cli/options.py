"""Options that several commands take, and callbacks for kinds of values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path

import click

from obsctl import files
from obsctl.errors import ObsctlError

Command = Callable[..., object]


class Group(click.Group):
    """A group of commands that says which one was probably meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args[0] in known or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        near = difflib.get_close_matches(args[0], known, n=1)
        raise click.UsageError(f"No such command {args[0]!r}.{f' Did you mean {near[0]!r}?' if near else ''}", ctx)


def deploys(command: Command) -> Command:
    """The options of `obsctl deploy`."""
    command = click.option("-y", "--yes", is_flag=True, help="Do not ask.")(command)
    return click.option(
        "--timeout", default=600.0, show_default=True, help="Seconds that each job may take.", metavar="SECONDS"
    )(command)


def as_seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """A duration written as in obsctl.yaml: 30s, 15m, 1h30m."""
    from obsctl.config.durations import parse_duration

    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def as_server(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """The address of a server's API; "127.0.0.1:8500" has no TLS, as for Consul's and Nomad's own programs."""
    from obsctl.model import server_address

    try:
        return server_address(value if "://" in value else f"http://{value}")
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def as_fields(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """FIELD=VALUE, each; the value may be empty and may hold more equals signs."""
    for text in value:
        if text.find("=") < 1:
            raise click.BadParameter(f"{text!r} is not of the form FIELD=VALUE", ctx, param)
    return tuple((name, expected) for name, _, expected in (text.partition("=") for text in value))


def as_trace_id(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
    """32 hexadecimal digits; leading zeros may be missing. "" when there is none."""
    if value is None:
        return ""
    if not re.fullmatch("[0-9a-fA-F]{1,32}", value):
        raise click.BadParameter(f"{value!r} is no trace id: it has up to 32 hexadecimal digits", ctx, param)
    return value.lower().rjust(32, "0")


def refuse_device(path: Path) -> None:
    """Before any work is done for a file that could not be replaced."""
    if path.exists() and not path.is_file():
        raise ObsctlError(f"{path} is no regular file", hint="name a FILE that may be replaced")


def write_file(path: Path, text: str) -> None:
    try:
        files.write(path, text)
    except OSError as error:
        raise ObsctlError(f"cannot write {path}: {error.strerror}", hint="choose another FILE") from error


def state_dir_option(command: Command) -> Command:
    return click.option(
        "--state-dir",
        type=click.Path(path_type=Path),
        envvar="OBSCTL_DEV_STATE_DIR",
        help="Where the cluster keeps its state; default: ~/.local/state/obsctl/dev.",
    )(command)
