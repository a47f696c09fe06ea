"""What can happen to one machine of a local cluster that has several: it stops, loses power, is cut off, gets slow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from obsctl.errors import ObsctlError
from obsctl.local.cluster import LocalCluster
from obsctl.local.machines import Machine
from obsctl.local.network import Network
from obsctl.model import Emit


class Nodes:
    """The machines of this cluster."""

    def __init__(self, cluster: LocalCluster, emit: Emit) -> None:
        self._cluster, self._emit = cluster, emit

    def stop(self, name: str) -> None:
        """As a machine that is shut down: its agents and tasks end in order, then it is gone from the network."""
        with self._changed(name) as machine:
            self._cluster.stop_machines([machine], self._emit)
            self._network.switch_off(name)

    def kill(self, name: str) -> None:
        """As a machine that loses its power: nobody hears of it."""
        with self._changed(name) as machine:
            self._network.unplug(name)
            self._cluster.kill_machine(machine)
            self._network.switch_off(name)

    def start(self, name: str) -> None:
        """Return when its agents are ready."""
        with self._changed(name) as machine:
            layout = self._cluster.folder.layout()
            if layout:
                self._network.raise_up(layout)
            self._cluster.start_machines([machine], self._emit)

    def cut(self, name: str) -> None:
        """It runs on, and nobody reaches it."""
        with self._running(name):
            self._network.cut(name)

    def join(self, name: str) -> None:
        with self._running(name):
            self._network.join(name)

    def delay(self, name: str, milliseconds: int) -> None:
        """So much more for each way, to the machine and from it; 0 ends it."""
        with self._running(name):
            self._network.delay(name, milliseconds)

    @property
    def _network(self) -> Network:
        return self._cluster.control.network

    @contextmanager
    def _changed(self, name: str) -> Iterator[Machine]:
        cluster = self._cluster
        machines = {machine.name: machine for machine in cluster.control.machines if machine.name}
        if not machines:
            raise ObsctlError(
                f"the cluster in {cluster.folder.path} has no machines of its own",
                hint="obsctl dev up --nodes 3 makes such a cluster",
            )
        if name not in machines:
            raise ObsctlError(f"the cluster has no machine {name}", hint=f"it has {', '.join(machines)}")
        with cluster.errors_in_words(), cluster.folder.locked(self._emit):
            yield machines[name]

    @contextmanager
    def _running(self, name: str) -> Iterator[None]:
        with self._changed(name):
            if not self._network.is_on(name):
                raise ObsctlError(f"{name} is off", hint=f"obsctl dev node start {name}")
            yield
