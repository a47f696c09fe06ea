"""Which receivers Alertmanager's configuration gives an alert, and with which timing. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from obsctl.config.durations import parse_duration
from obsctl.model import Json

_MATCHER = re.compile(r"""\s*([^\s=!~]+)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|(.*?))\s*$""")
_ESCAPED = re.compile(r'\\([\\"n])')


@dataclass(frozen=True, slots=True)
class Route:
    """Where an alert goes. Times in seconds; the time intervals are names, and no route inherits them."""

    receiver: str
    group_wait: float = 30.0
    group_interval: float = 300.0
    mute_time_intervals: tuple[str, ...] = ()
    active_time_intervals: tuple[str, ...] = ()


def routes(config: Json, labels: Mapping[str, str]) -> list[Route]:
    """All routes that an alert with these labels takes. config: the parsed configuration as Alertmanager itself
    shows it, in which every matcher is a string of its own."""
    return list(_walk(config["route"], labels, Route(receiver=config["route"]["receiver"])))


def inhibited_by(config: Json, labels: Mapping[str, str], active: Iterable[Mapping[str, str]]) -> list[str]:
    """Names of those active alerts that keep Alertmanager from notifying one with these labels. Of two that are both on
    both sides of a rule, neither keeps the other back."""
    rules = config.get("inhibit_rules") or []
    return sorted({other["alertname"] for other in active if any(_inhibits(rule, other, labels) for rule in rules)})


def _inhibits(rule: Json, source: Mapping[str, str], target: Mapping[str, str]) -> bool:
    def fits(side: str, labels: Mapping[str, str]) -> bool:
        matchers = rule.get(f"{side}_matchers") or []
        return bool(matchers) and _matches(matchers, labels)

    if not (fits("source", source) and fits("target", target)) or (fits("source", target) and fits("target", source)):
        return False
    return all(source.get(name, "") == target.get(name, "") for name in rule.get("equal") or [])


def receives_webhook(config: Json, receiver: str) -> bool:
    """Whether the receiver has a webhook and sends what is resolved."""
    for entry in config.get("receivers") or []:
        if entry["name"] == receiver:
            return any(hook.get("send_resolved", True) for hook in entry.get("webhook_configs") or [])
    return False


def _walk(node: Json, labels: Mapping[str, str], parent: Route) -> Iterator[Route]:
    here = _inherit(node, parent)
    matched = False
    for child in node.get("routes") or []:
        if _matches(child.get("matchers") or [], labels):
            matched = True
            yield from _walk(child, labels, here)
            if not child.get("continue"):
                break
    if not matched:
        yield here


def _inherit(node: Json, parent: Route) -> Route:
    wait, interval = (
        parse_duration(node[name]) if name in node else getattr(parent, name)
        for name in ("group_wait", "group_interval")
    )
    mute, active = (tuple(node.get(f"{kind}_time_intervals") or ()) for kind in ("mute", "active"))
    return Route(node.get("receiver") or parent.receiver, wait, interval, mute, active)


def _matches(matchers: list[str], labels: Mapping[str, str]) -> bool:
    return all(_match(matcher, labels) for matcher in matchers)


def _match(matcher: str, labels: Mapping[str, str]) -> bool:
    parts = _MATCHER.match(matcher)
    if parts is None:
        return False
    name, operator, quoted, bare = parts.groups()
    pattern = _unescaped(quoted) if quoted is not None else bare
    value = labels.get(name.strip('"'), "")
    return fits(pattern, value, is_regex="~" in operator, is_equal=not operator.startswith("!"))


def fits(pattern: str, value: str, *, is_regex: bool, is_equal: bool) -> bool:
    """Whether a matcher of Prometheus or Alertmanager takes the value. is_equal: False for `!=` and `!~`.

    A regular expression must take the whole value. One that only Go knows takes none.
    """
    if not is_regex:
        return (pattern == value) is is_equal
    try:
        return (re.fullmatch(pattern, value, re.DOTALL) is not None) is is_equal
    except re.error:
        return not is_equal


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda escape: "\n" if escape[1] == "n" else escape[1], text)
