"""What a drill sees and touches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from obsctl.clients.protocols import AlertmanagerApi, ConsulApi, NomadApi, PrometheusApi, SinkApi
from obsctl.model import Emit
from obsctl.wait import SYSTEM_CLOCK, Clock


@dataclass(frozen=True, slots=True)
class World:
    """The servers, the clock and the listener. `interrupted` tells whether somebody asked to stop."""

    stack: str
    nomad: NomadApi
    consul: ConsulApi
    prometheus: PrometheusApi
    alertmanager: AlertmanagerApi
    sink: SinkApi
    emit: Emit
    interrupted: Callable[[], bool] = lambda: False
    clock: Clock = SYSTEM_CLOCK
