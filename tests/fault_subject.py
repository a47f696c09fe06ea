"""A job on a real cluster, for faults: what one drill writes down of it, without a drill around it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

from obsctl.clients import jobs
from obsctl.config.secrets import Secret
from obsctl.drills import faults, kept
from obsctl.drills.plan import experiment
from obsctl.drills.recipes import Recipe
from obsctl.drills.world import World, is_healthy
from obsctl.errors import NotFound
from obsctl.wait import SYSTEM_CLOCK, wait_until
from tests.fakes import FakePrograms, FakePrometheus

JOB = """
job "%(name)s" {
  group "main" {
    count = %(count)d
    update {
      health_check     = "task_states"
      min_healthy_time = "100ms"
    }
    restart {
      attempts = %(attempts)d
      delay    = "100ms"
      interval = "1h"
      mode     = "fail"
    }
    reschedule {
      delay          = "1h"
      delay_function = "constant"
      unlimited      = true
    }
    network {
      port "http" {}
    }
    service {
      name     = "%(name)s"
      port     = "http"
      provider = "consul"
      check {
        type     = "http"
        path     = "/"
        interval = "1s"
        timeout  = "1s"
      }
    }
    task "main" {
      driver = "raw_exec"
      config {
        command = "%(python)s"
        args    = ["-m", "http.server", "--bind", "127.0.0.1", "${NOMAD_PORT_http}"]
      }
      resources {
        cpu    = 20
        memory = 20
      }
    }
  }
}
"""


class Subject:
    """A service with `count` instances that runs, and a fault that is prepared for it. attempts: restarts before Nomad
    gives up."""

    def __init__(self, cluster: Any, fault: str, *, count: int = 1, attempts: int = 10, **written: str) -> None:
        self.fault = faults.named(fault)
        self.nomad, self.name = cluster.nomad, f"fault-{uuid4().hex[:8]}"
        prometheus = FakePrometheus()
        self.world = World(
            stack="faults", namespace="default", nomad=cluster.nomad, consul=cluster.consul, secret=Secret("a key"),
            programs=FakePrograms(cluster.nomad, cluster.consul, prometheus=prometheus), heartbeat=10, emit=print,
        )  # fmt: skip
        words = {"name": self.name, "count": count, "attempts": attempts, "python": sys.executable}
        self.nomad.register_job(self.nomad.parse_job(JOB % words))
        self.until("the service", lambda: is_healthy(self.world, self.name, self.name))
        self.job = self.nomad.job(self.name)
        parameters = experiment.load(fault, self.name, written).parameters
        prepared = self.fault.prepare(self.world, self.name, self.job, parameters)
        self.recipe = self._recipe(fault, prepared.data, prepared.document)
        kept.keep(self.world, self.recipe, prepared.document)
        self.fault.rehearse(self.world, self.recipe)

    def inject(self) -> float:
        """Returns when the effect was there."""
        asked = SYSTEM_CLOCK.now()
        self.fault.inject(self.world, self.recipe)
        effect = self.until("the effect", self.look)
        assert asked - 1 < effect < SYSTEM_CLOCK.now() + 1
        return effect

    def look(self) -> float | None:
        self.fault.sustain(self.world, self.recipe)
        return self.fault.effect_at(self.world, self.recipe)

    def revert(self) -> str:
        return self.fault.revert(self.world, self.recipe).state

    def until_back(self, *, wanted: int = 0) -> None:
        """All is as it was; with so many instances."""
        self.until("the service to be back", lambda: self.fault.is_gone(self.world, self.recipe))
        assert len(self.running()) == (wanted or jobs.expected_count(self.nomad.job(self.name)))

    def until(self, what: str, probe: Callable[[], Any]) -> Any:
        return wait_until(probe, timeout=30, interval=0.1, failure=f"no sign of {what}", hint="")

    def running(self) -> list[Any]:
        return [each for each in self.nomad.job_allocations(self.name) if jobs.is_running(each)]

    def purge(self) -> None:
        """Only once Nomad has nothing more to do for it."""
        with suppress(NotFound):
            if not self.nomad.job(self.name)["Stop"]:
                self.nomad.stop_job(self.name)
            self.until("its end", lambda: not any(map(jobs.may_run, self.nomad.job_allocations(self.name))))
        self.nomad.session.delete(f"/v1/job/{self.name}", params={"purge": "true"})

    def _recipe(self, fault: str, data: Any, document: Any = None) -> Recipe:
        job, now = self.nomad.job(self.name), SYSTEM_CLOCK.now()
        return Recipe(
            drill=uuid4().hex, stack="faults", namespace="default", fault=fault, service=self.name, job=self.name,
            version=job["Version"], digest=kept.digest_of(document or {}), session="", created_at=now,
            deadline=now + 60, data=data,
        )  # fmt: skip
