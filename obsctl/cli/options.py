"""Kinds of values that several commands take: callbacks of their options."""

from __future__ import annotations

import re

import click


def as_seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """A duration written as in obsctl.yaml: 30s, 15m, 1h30m."""
    from obsctl.config.durations import parse_duration

    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def as_trace_id(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
    """32 hexadecimal digits; leading zeros may be missing. "" when there is none."""
    if value is None:
        return ""
    if not re.fullmatch("[0-9a-fA-F]{1,32}", value):
        raise click.BadParameter(f"{value!r} is no trace id: it has up to 32 hexadecimal digits", ctx, param)
    return value.lower().rjust(32, "0")
