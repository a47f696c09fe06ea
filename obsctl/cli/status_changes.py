"""What changed between two looks at a stack, in plain words: for `obsctl status --watch` in a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from obsctl.cli import status_words

if TYPE_CHECKING:
    from obsctl.stack.scraped import Node
    from obsctl.stack.status import ComponentStatus, StackStatus

_Key = tuple[str, str]
_Keyed = tuple[_Key, "_Fact"]
_DRIFT, _NODE = "drift", "node"


@dataclass(frozen=True, slots=True)
class _Fact:
    """words: told when they change, and when they are new unless is_usual. end: told when the fact is gone; "" when
    something else tells of that."""

    words: str
    end: str = ""
    is_usual: bool = False


class Changes:
    """Tells of each fact how it is, when that is not what was told before."""

    def __init__(self, tell: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self._tell, self._warn = tell, warn
        self._before: dict[_Key, _Fact] = {}
        self._lack = ""

    def look(self, state: StackStatus) -> None:
        if self._lack:
            self._say("the servers answer again")
        self._lack, now = "", dict(_facts(state))
        for key, fact in now.items():
            before = self._before.get(key)
            if fact.words != before.words if before else not fact.is_usual:
                self._say(fact.words)
        for key, fact in list(self._before.items()):
            if fact.end and key not in now and not _is_unknown(key, state):
                self._say(fact.end)
                del self._before[key]
        self._before.update(now)

    def lack(self, words: str) -> None:
        """A server does not answer, so nothing is known."""
        if words != self._lack:
            self._warn(words)
        self._lack = words

    def _say(self, words: str) -> None:
        self._tell(" ".join(words.split()))


def _is_unknown(key: _Key, state: StackStatus) -> bool:
    """Whether this look says nothing of the fact."""
    source, name = key
    if source == _DRIFT:
        return not state.drift or bool(state.drift.unknown)
    return source == _NODE and (
        bool(state.blindness) or state.is_starting or name in {node.name for node in state.nodes}
    )


def _facts(state: StackStatus) -> Iterator[_Keyed]:
    for component in state.components:
        yield from _of_component(component)
    yield from _of_prometheus(state)
    for node in state.nodes:
        yield from _of_node(node)
    if state.drift and (unknown := status_words.unknown(state.drift)):
        yield ("unknown", _DRIFT), _Fact(unknown, end="Drift is known again")
    for words in state.drift.of_none if state.drift else ():
        yield (_DRIFT, words), _Fact(status_words.differs(words), end=f"no drift any more: {words}")


def _of_component(component: ComponentStatus) -> Iterator[_Keyed]:
    name, instances, scraping = component.component, component.instances, component.scraping
    nodes = f" on {status_words.node_names(component)}" if instances else ""
    note = f": {component.note}" if component.note else ""
    yield ("state", name), _Fact(f"{name}: {component.state} {component.running}/{component.wanted}{nodes}{note}")
    if instances:
        passing, checks = status_words.checks(component)
        yield ("checks", name), _Fact(f"{name}: {passing} of {checks} checks pass", is_usual=True)
        yield ("address", name), _Fact(f"{name}: its address is {component.address or 'not known'}", is_usual=True)
    if instances and scraping:
        words = f"{name}: {scraping.up} of {scraping.targets} targets are up"
        yield ("targets", name), _Fact(words, is_usual=True)
    if component.version:
        yield ("version", name), _Fact(f"{name}: made by obsctl {component.version}", is_usual=True)
    for each in component.replaced:
        gone = f"{name}: the earlier {each.allocation[:8]} on {each.node} is gone"
        yield ("earlier", f"{name} {each.allocation}"), _Fact(f"{name}: {status_words.earlier(each)}", end=gone)
    for words in component.drift or ():
        difference = f"{name}: {status_words.differs(words)}"
        yield (_DRIFT, f"{name} {words}"), _Fact(difference, end=f"{name}: no drift any more: {words}")


def _of_prometheus(state: StackStatus) -> Iterator[_Keyed]:
    if state.blindness:
        yield ("prometheus", "blindness"), _Fact(state.blindness, end="Prometheus sees targets again")
    if state.scraping:
        words = status_words.targets(state.scraping, is_starting=state.is_starting)
        yield ("prometheus", "targets"), _Fact(f"Prometheus: {words}")
    if state.evaluation:
        yield ("prometheus", "rules"), _Fact(f"Prometheus: {status_words.rules(state.evaluation)}")


def _of_node(node: Node) -> Iterator[_Keyed]:
    gone = f"node {node.name} is no target any more"
    if node.is_away:
        yield (_NODE, node.name), _Fact(node.words, end=gone)
    elif node.answers:
        yield (_NODE, node.name), _Fact(f"node {node.name} answers again", end=gone, is_usual=True)
