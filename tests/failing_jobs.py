"""Jobs that fail on a real cluster, each for a reason of its own: one deploy of them, and when it said what.

The jobs are templates of the user's own, in the place of components of the stack.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from obsctl.clients.jobs import task_events
from tests.deployed import DEMO, Stack

SOON = 30.0
"""Seconds from the event that makes a cause certain to the sentence."""
TEMPLATE = """
<% import '_parts.hcl.j2' as parts with context %>
job "<%= job %>" {
<%= parts.placement() %>
  group "g" {
    update {
      healthy_deadline  = "40s"
      progress_deadline = "50s"
      min_healthy_time  = "1s"
      health_check      = "checks"
    }
    restart {
      attempts = 3
      delay    = "2s"
      mode     = "fail"
    }
    GROUP
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "SCRIPT"]
      }
      TASK
      resources {
        cpu    = 20
        memory = 30
      }
    }
  }
}
"""
FILE = 'template {\n        data        = "{{ %s }}"\n        destination = "local/file"\n      }'
CHECKED = """
    network {
      port "http" {}
    }
    service {
      name = "unready"
      port = "http"
      check {
        name     = "ready"
        type     = "http"
        path     = "/-/ready"
        interval = "2s"
        timeout  = "1s"
      }
    }
"""


def template(script: str = "exec sleep 600", group: str = "", task: str = "") -> str:
    return TEMPLATE.replace("GROUP", group).replace("TASK", task).replace("SCRIPT", script)


@dataclass(frozen=True)
class Deploy:
    """A deploy that failed. at: job -> when its failure was said, in Unix seconds; text: all that was said."""

    stack: Stack
    at: Mapping[str, float]
    text: str

    def sentence(self, job: str) -> str:
        """The line that says why this job failed."""
        return next(line for line in self.text.splitlines() if line.startswith(f"✗ {job}: "))

    def waited_since_evaluation(self, job: str) -> float:
        """Seconds from Nomad's first look for a place to the sentence."""
        times = [each["CreateTime"] / 1e9 for each in self.stack.clients.nomad.job_evaluations(job)]
        return self.at[job] - min(times)

    def waited(self, job: str, event: str, number: int = 1, task: str = "t") -> float:
        """Seconds from the task's nth event of this kind (0: from its last one) to the sentence, by the node's clock,
        which is ours."""
        times = [
            each["Time"] / 1e9
            for alloc in self.stack.clients.nomad.job_allocations(job)
            for each in task_events(alloc, task)
            if each["Type"] == event
        ]
        return self.at[job] - sorted(times)[number - 1]


def deploy(stack: Stack, jobs: Mapping[str, str]) -> Deploy:
    """Deploy these job templates, and no other component's."""
    for name, text in jobs.items():
        file = stack.folder / "jobs" / ("demo" if name in DEMO else "") / f"{name}.nomad.hcl.j2"
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(text)
    process, at, lines = stack.start("deploy", "--yes", "--timeout", "60"), {}, []
    assert process.stderr
    assert process.stdout
    for line in process.stdout:
        lines.append(line)
        if match := re.match(r"✗ (obs-[\w-]+):", line):
            at[match[1]] = time.time()
    _, err = process.communicate()
    assert process.returncode == 1
    return Deploy(stack, at, "".join(lines) + err)
