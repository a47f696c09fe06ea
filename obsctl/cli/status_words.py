"""The words in which `obsctl status` tells of a stack, at once and with --watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obsctl.stack.scraped import Evaluation, Scraping
    from obsctl.stack.status import ComponentStatus, Drift, Instance


def node_names(component: ComponentStatus, limit: int | None = None) -> str:
    """Of the nodes that it runs on. limit: how many are named when there are more; the others are counted."""
    names = sorted({instance.node for instance in component.instances})
    if limit is None or len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"


def checks(component: ComponentStatus) -> tuple[int, int]:
    """How many pass, and how many there are."""
    instances = component.instances
    return sum(each.checks_passing for each in instances), sum(each.checks for each in instances)


def earlier(instance: Instance) -> str:
    return f"earlier: {instance.allocation[:8]} on {instance.node} ({instance.state}): {instance.note}"


def targets(scraping: Scraping, *, is_starting: bool) -> str:
    starting = ": it has scraped nothing yet" if is_starting else ""
    return f"{scraping.up} of {scraping.targets} targets are up{starting}"


def rules(evaluation: Evaluation) -> str:
    failing = f", {evaluation.failing} of which cannot be evaluated" if evaluation.failing else ""
    return f"{evaluation.rules} rules{failing}"


def unknown(drift: Drift) -> str:
    """ "" when drift is known."""
    return f"Drift is not known: {drift.unknown}" if drift.unknown else ""


def differs(words: str) -> str:
    return f"drift: {words}"
