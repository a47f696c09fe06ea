"""How long `obsctl plan` takes when there is nothing to do, against one `nomad job plan` a job, one after the other.

Run: python -m bench.plan [ROUNDS]. Both look at the same running jobs on one fresh local cluster, in turns; the parts
of ours are measured in one process more, which does the same step by step. The aim: at most as long.
"""

from __future__ import annotations

import resource
import sys
from collections import defaultdict
from collections.abc import Callable

from bench.deployed import OBSCTL, Deployed, deployed, load, seconds, table, verdict

LIMIT_RATIO = 1.0
NOMAD, OURS = "nomad job plan, each job", "obsctl plan"
PARTS = """
import time
began = time.monotonic()
def part(name):
    global began
    print(f"{name}={time.monotonic() - began}")
    began = time.monotonic()
from obsctl.cli import deploy, root, wire
from obsctl.cli.app import App
from obsctl.stack import checks, observe, plan, render
from obsctl.content import dashboard_lint, dashboards
from obsctl.ui import Ui
part("imports")
app = App(Ui())
app.loaded
part("configuration")
rendered = deploy._rendered(app)
part("render and check")
clients = wire.clients(app.loaded.config)
desired = observe.desire(rendered, clients.nomad, observe.resolver(clients.nomad))
part("Nomad parses")
observed = observe.observe(desired, clients.nomad, clients.consul)
part("Nomad and Consul observed")
plan.plan(desired, observed)
part("compare")
"""


def by_nomad(stack: Deployed) -> dict[str, float]:
    files = stack.write_jobs()
    program = str(stack.nomad_program)
    return _timed(NOMAD, lambda: [stack.run([program, "job", "plan", "-json", str(file)]) for file in files.values()])


def by_obsctl(stack: Deployed) -> dict[str, float]:
    timed = _timed(OURS, lambda: stack.run([OBSCTL, "plan", "--exit-code"]))
    said = stack.run([sys.executable, "-c", PARTS])
    parts = dict(line.split("=") for line in said.splitlines() if "=" in line)
    return {**timed, **{f"  of it: {name}": float(value) for name, value in parts.items()}}


def _timed(name: str, call: Callable[[], object]) -> dict[str, float]:
    """How long it takes, and of the processors' time what its processes take: on a busy machine that is steadier."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = seconds(call)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {name: took, f"{name}, CPU": after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime}


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    rows: dict[str, list[float]] = defaultdict(list)
    with deployed() as stack:
        print(f"{len(stack.jobs)} jobs, {rounds} rounds; {load()}", flush=True)
        for number in range(rounds + 1):
            for side in (by_nomad, by_obsctl) if number % 2 else (by_obsctl, by_nomad):
                for name, took in side(stack).items():
                    rows[name] += [took] if number else []  # the first one warms up
    print(table(rows))
    return verdict(rows[OURS], rows[NOMAD], limit=LIMIT_RATIO)


if __name__ == "__main__":
    sys.exit(main())
