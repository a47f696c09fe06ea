"""What the checks look at, and what each of them says."""

from __future__ import annotations

from dataclasses import dataclass

from obsctl.clients.programs import Clients
from obsctl.config.schema import Config
from obsctl.junit import Check, Outcome
from obsctl.model import Emit
from obsctl.stack.render import Rendered
from obsctl.wait import SYSTEM_CLOCK, Clock


@dataclass(frozen=True, slots=True)
class Site:
    """The configuration, the rendered stack and the cluster. receivers: whether people may be notified."""

    config: Config
    rendered: Rendered
    clients: Clients
    emit: Emit
    receivers: bool = False
    clock: Clock = SYSTEM_CLOCK


def judge(suite: str, name: str, lack: str, text: str = "") -> Check:
    """Passed when nothing lacks. text: what is said then."""
    return Check(suite, name, Outcome.FAILED if lack else Outcome.PASSED, lack or text)
