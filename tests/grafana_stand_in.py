#!/usr/bin/env python3
"""A stand-in for Grafana, which cannot be had on the machines that run the tests. It is not Grafana.

It finds its settings and files as Grafana's sources say that Grafana does (pkg/setting, packaging/docker/run.sh): the
file that --config or GF_PATHS_CONFIG names, over it GF_<SECTION>_<KEY>, and then ${NAME} and $__file{path}. What it
found it tells at /stand-in; of secrets it tells the hash. It needs Python's own library alone, as it also runs in a
container that has no more.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SECRET_KEYS = ("security.admin_password", "security.secret_key")
# What Grafana's own defaults.ini has beyond our file: an environment variable changes only what is a setting.
OTHER_SETTINGS = ("paths.data", "paths.plugins", "paths.provisioning", *SECRET_KEYS)


def settings(config: Path) -> dict[str, str]:
    """section.key -> value, as Grafana would see it."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(config.read_text(encoding="utf-8"))
    found = {f"{section}.{key}": value for section in parser.sections() for key, value in parser.items(section)}
    found = {**dict.fromkeys(OTHER_SETTINGS, ""), **found}
    changed = {key: os.environ.get(variable(key), value) for key, value in found.items()}
    return {key: expanded(value) for key, value in changed.items()}


def variable(key: str) -> str:
    return "GF_" + re.sub(r"[.-]", "_", key).upper()


def expanded(value: str) -> str:
    """Grafana looks for names first and for files then; the pattern is its own, and knows no braces within braces."""
    value = re.sub(r"\$\{([^}]+)}|\$__env\{([^}]+)}", lambda found: os.environ.get(found[1] or found[2], ""), value)
    return re.sub(r"\$__file\{([^}]+)}", lambda found: Path(found[1]).read_text(encoding="utf-8").strip(), value)


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()}


def plugins(folder: Path) -> list[str]:
    """Ids of those that Grafana would load from its folder of plugins; it has fetched none."""
    found = [*folder.glob("*/plugin.json"), *folder.glob("*/dist/plugin.json")]
    return sorted(json.loads(path.read_text("utf-8"))["id"] for path in found)


def metrics(config: Path) -> str:
    told = ['grafana_build_info{version="stand-in"} 1']
    for plugin in plugins(Path(settings(config)["paths.plugins"])):
        told.append(f'grafana_plugin_build_info{{plugin_id="{plugin}",plugin_type="datasource",version="stand-in"}} 1')
    return "\n".join([*told, ""])


def seen(config: Path) -> dict[str, object]:
    """All that the tests ask for."""
    found = settings(config)
    provisioning = Path(found["paths.provisioning"])
    return {
        "pid": os.getpid(),
        "uid": os.getuid(),
        "arguments": sys.argv[1:],
        "settings": {key: value for key, value in found.items() if key not in SECRET_KEYS},
        "sha256": {key: hashlib.sha256(found[key].encode()).hexdigest() for key in SECRET_KEYS},
        "urls": {name: value for name, value in os.environ.items() if name.endswith("_URL")},
        "provisioning": files(provisioning),
        "dashboards": files(Path(os.environ["NOMAD_TASK_DIR"]) / "dashboards"),
        "secret_modes": {
            path.name: oct(path.stat().st_mode & 0o777)
            for path in Path(os.environ["NOMAD_SECRETS_DIR"]).iterdir()
            if path.name in ("admin_password", "secret_key")
        },
        "data_is_writable": os.access(found["paths.data"] or "/nonexistent", os.W_OK),
    }


class Handler(BaseHTTPRequestHandler):
    config: Path

    def do_GET(self) -> None:
        answers = {
            "/api/health": lambda: json.dumps({"database": "ok", "version": "stand-in"}),
            "/metrics": lambda: metrics(self.config),
            "/stand-in": lambda: json.dumps(seen(self.config)),
        }
        found = answers.get(self.path)
        body = (found() if found else "").encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/plain" if self.path == "/metrics" else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def main() -> None:
    signal.signal(
        signal.SIGTERM, lambda *_: os._exit(0)
    )  # as the first process of a container it would not end by itself
    given = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    Handler.config = Path(given.get("config") or os.environ["GF_PATHS_CONFIG"])
    found = settings(Handler.config)
    os.makedirs(found["paths.data"], exist_ok=True)  # noqa: PTH103  as Grafana does
    print("the stand-in for Grafana has started", flush=True)
    ThreadingHTTPServer((found["server.http_addr"], int(found["server.http_port"])), Handler).serve_forever()


if __name__ == "__main__":
    main()
