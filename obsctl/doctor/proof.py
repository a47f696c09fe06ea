"""Whether no errors mean that a deploy succeeds: what was not seen and may stop one, and what would settle it."""

from __future__ import annotations

from collections.abc import Iterable

from obsctl.model import Finding

BY_PROBE = "--probe"
BY_ACLS = "a token that may read ACLs"
BY_SETUP = "what obsctl setup makes"


def by_version(server: str) -> str:
    return f"a token that may read the version of {server.capitalize()}"


def unsettled(findings: Iterable[Finding], *, probe: bool) -> list[Finding]:
    """Those by which a deploy may fail or not. probe: the nodes have tried what they can, and said what they cannot."""
    return [each for each in findings if each.settled_by and not (probe and each.settled_by == BY_PROBE)]
