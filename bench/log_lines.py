"""How many log lines an agent reads in a second of one CPU: bare, as entries with time and level, and redacted.

    python -m bench.log_lines

Needs the collector (obsctl dev binaries otelcol); nothing is sent anywhere.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import yaml

from obsctl.config.schema import Config
from obsctl.local import binaries
from obsctl.names import LOG_LANES
from obsctl.stack.render import render
from obsctl.wait import wait_until

LINES = 200_000
LANE = f"file_log/{LOG_LANES[0]}"
PATTERNS = [r"password=\S+", r'"token": ?"[^"]*"', r"\b(?:\d{4}[ -]?){3}\d{4}\b"]
KINDS = {
    "plain": "GET /cart/{number} 200 in 12 ms for user 4711 with three items in the basket, from 10.0.0.1",
    "Logback": "2026-01-02 03:04:05,678 INFO  [exec-1] com.example.shop.Checkout - POST /checkout/{number} 200 in 9 ms",
    "JSON": '{{"time":"2026-01-02T03:04:05.678Z","level":"INFO","msg":"request done","path":"/cart/{number}"}}',
}
READ = re.compile(r"^otelcol_receiver_accepted_log_records.* (\S+)$", re.MULTILINE)
TASK = {
    "NOMAD_IP_telemetry": "127.0.0.1",
    "NOMAD_PORT_telemetry": "18888",
    "NOMAD_ADDR_health": "127.0.0.1:18889",
    "NODE_ID": "n",
    "NODE_NAME": "n",
    "DATACENTER": "dc1",
}


def main() -> None:
    program = binaries.find("otelcol")
    if program is None:
        sys.exit("the collector was not found: obsctl dev binaries otelcol")
    print(f"{'lines a CPU second':20} {'bare':>10} {'entries':>10} {'redacted':>10}")
    for kind, line in KINDS.items():
        rates = [_rate(program, line, how) for how in (_bare(_agent()), _agent(), _agent(*PATTERNS))]
        print(f"{kind:20} " + " ".join(f"{rate:10,.0f}" for rate in rates))


def _agent(*patterns: str) -> dict[str, Any]:
    """The agent's configuration, which sends nothing."""
    files = render(Config.model_validate({"logs": {"redact": patterns}}), Path("/nonexistent")).files()
    config: dict[str, Any] = yaml.safe_load(files["kv/obsctl/obs/config/otel-agent.yml"])
    logs = config["service"]["pipelines"]["logs/files"]
    config["service"]["pipelines"] = {"logs": {**logs, "receivers": [LANE], "exporters": ["debug"]}}
    config["service"]["telemetry"]["logs"] = {"level": "error"}
    config["exporters"] = {"debug": {}}
    config["receivers"] = {LANE: config["receivers"][LANE]}
    return config


def _bare(config: dict[str, Any]) -> dict[str, Any]:
    """Each line an entry, and no more known of it than whose it is."""
    reader = config["receivers"][LANE]
    del reader["multiline"]
    names = next(number for number, each in enumerate(reader["operators"]) if each["type"] == "json_parser")
    reader["operators"] = reader["operators"][:names]
    config["service"]["pipelines"]["logs"]["processors"] = ["memory_limiter", "resource"]
    return config


def _rate(program: Path, line: str, config: dict[str, Any]) -> float:
    with tempfile.TemporaryDirectory(prefix="obsctl-bench-") as name:
        folder = Path(name)
        logs = folder / "links" / LOG_LANES[0] / "default" / "web" / "web" / "one"
        logs.mkdir(parents=True)
        with (logs / "web.stdout.0").open("w") as log:
            log.writelines(line.format(number=number) + "\n" for number in range(LINES))
        (folder / "agent.yml").write_text(yaml.safe_dump(config, width=100_000))
        environ = {**os.environ, **TASK, "LINKS": f"{name}/links", "DATA_DIR": f"{name}/data"}
        process = subprocess.Popen([program, f"--config={folder}/agent.yml"], env=environ, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: _read() >= LINES, timeout=300, failure="no sign of every line", hint="", interval=0.1)
            spent = psutil.Process(process.pid).cpu_times()
        finally:
            process.terminate()
            process.wait(timeout=30)
    return LINES / (spent.user + spent.system)


def _read() -> float:
    try:
        with urllib.request.urlopen("http://127.0.0.1:18888/metrics", timeout=5) as page:
            return sum(map(float, READ.findall(page.read().decode())))
    except OSError:
        return 0


if __name__ == "__main__":
    main()
