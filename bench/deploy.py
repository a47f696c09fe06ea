"""How long a deploy takes from stopped jobs until all are healthy, against `nomad job run` of all of them at once.

Run: python -m bench.deploy [ROUNDS]. Both start the same registered jobs on one fresh local cluster, in turns. What is
counted ends on both sides when every deployment succeeded and every check passes in Consul. That a deploy then also
looks whether alert path and telemetry work is shown as a part of its own. The aim: at most 1.1 times as long.
"""

from __future__ import annotations

import sys
from collections import defaultdict

from bench.deployed import OBSCTL, Deployed, deployed, load, seconds, table, verdict
from obsctl.wait import SYSTEM_CLOCK

LIMIT_RATIO = 1.1
NOMAD, OURS = "nomad job run, until all are healthy", "obsctl deploy, until all are healthy"


def by_nomad(stack: Deployed) -> dict[str, float]:
    """All at once, as a user would with a shell and `&`; the command waits for the deployment alone."""
    files = stack.write_jobs()

    def run() -> None:
        commands = [
            stack.start([str(stack.nomad_program), "job", "run", "-json", str(file)]) for file in files.values()
        ]
        for command in commands:
            said, _ = command.communicate()
            if command.returncode:
                sys.exit(f"nomad job run failed:\n{said}")
        stack.wait_healthy()

    return {NOMAD: seconds(run)}


def by_obsctl(stack: Deployed) -> dict[str, float]:
    """The parts, as its own words tell them."""
    started = SYSTEM_CLOCK.monotonic()
    at = {"plan": started, "jobs": started, "end": started}
    process = stack.start([OBSCTL, "deploy", "--yes"])
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        now = SYSTEM_CLOCK.monotonic()
        if line.startswith("Plan:"):
            at["plan"] = now
        if line.startswith("✓ obs-"):
            at["jobs"] = now
    if process.wait():
        sys.exit(f"obsctl deploy failed:\n{''.join(lines)}")
    at["end"] = SYSTEM_CLOCK.monotonic()
    return {
        OURS: at["jobs"] - started,
        "  of it: start, render, check, plan": at["plan"] - started,
        "  of it: register and wait": at["jobs"] - at["plan"],
        "and then: do alerts and telemetry work": at["end"] - at["jobs"],
    }


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rows: dict[str, list[float]] = defaultdict(list)
    with deployed() as stack:
        print(f"{len(stack.jobs)} jobs, {rounds} rounds; {load()}", flush=True)
        for number in range(rounds):
            sides = (by_nomad, by_obsctl) if number % 2 == 0 else (by_obsctl, by_nomad)
            for side in sides:
                stack.stop_all()
                for name, took in side(stack).items():
                    rows[name].append(took)
    print(table(rows))
    return verdict(rows[OURS], rows[NOMAD], limit=LIMIT_RATIO)


if __name__ == "__main__":
    sys.exit(main())
