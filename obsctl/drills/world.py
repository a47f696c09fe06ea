"""What a drill sees and touches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from obsctl.clients.protocols import ConsulApi, NomadApi, SinkApi
from obsctl.clients.replicas import AlertmanagerReplicas, PrometheusReplicas
from obsctl.model import Emit
from obsctl.wait import SYSTEM_CLOCK, Clock


@dataclass(frozen=True)
class Cluster:
    """Where faults are injected and taken back: enough for a revert."""

    stack: str
    nomad: NomadApi
    consul: ConsulApi
    clock: Clock = SYSTEM_CLOCK


@dataclass(frozen=True, kw_only=True)
class World(Cluster):
    """The cluster and the alert path.

    heartbeat: seconds between two deliveries of Watchdog. interrupted: whether somebody asked to stop.
    """

    prometheus: PrometheusReplicas
    alertmanager: AlertmanagerReplicas
    sink: SinkApi
    heartbeat: float
    emit: Emit
    interrupted: Callable[[], bool] = lambda: False
