"""The words in which `obsctl status` tells of a stack, at once and with --watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obsctl.stack.scraped import Evaluation
    from obsctl.stack.status import ComponentStatus, Instance, StackStatus


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


def targets(state: StackStatus) -> str:
    """ "" when Prometheus does not say it."""
    if not state.scraping:
        return ""
    begun = ": it has scraped nothing yet" if state.begun else ""
    return f"{state.scraping.up} of {state.scraping.targets} targets are up{begun}"


def rules(evaluation: Evaluation) -> str:
    failing = f", {evaluation.failing} of which cannot be evaluated" if evaluation.failing else ""
    return f"{evaluation.rules} rules{failing}"
