"""Images made on the spot: what the official ones look like from outside, with the servers of this machine inside.

Names and tags are those of obsctl's defaults. Users, entrypoints, folders and volumes are those of the Dockerfiles that
the projects publish: Prometheus 3.15, Alertmanager 0.34, Jaeger 2, VictoriaLogs 1.52, collector contrib 0.1xx.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from obsctl.config.schema import Config
from tests.agents import program
from tests.docker_daemon import Docker

ROOT = Path(__file__).parents[1]
GRAFANA = """\
FROM {base}
LABEL obsctl.stand-in="not Grafana: it only shows which files have arrived"
ENV GF_PATHS_CONFIG=/etc/grafana/grafana.ini GF_PATHS_DATA=/var/lib/grafana GF_PATHS_HOME=/usr/share/grafana \\
    GF_PATHS_LOGS=/var/log/grafana GF_PATHS_PLUGINS=/var/lib/grafana/plugins \\
    GF_PATHS_PROVISIONING=/etc/grafana/provisioning
COPY --chown=472:0 empty /var/lib/grafana
COPY run.sh /run.sh
WORKDIR /usr/share/grafana
USER 472
ENTRYPOINT ["/run.sh"]
"""
BASE = "obsctl-tests/python"  # what obsctl's own image is built on here
NOBODY = "nobody:x:65534:65534:nobody:/home:/bin/false\n"


@dataclass(frozen=True)
class Official:
    """An image as its project publishes it. folders: those that belong to the user. lines: more of its Dockerfile."""

    name: str
    program: str
    entrypoint: str
    user: str
    uid: int
    folders: tuple[str, ...] = ()
    passwd: str = ""
    lines: tuple[str, ...] = ()


def officials(config: Config) -> list[Official]:
    stack, collector = config.components, "/otelcol-contrib"
    return [
        Official(
            stack.prometheus.image, "prometheus", "/bin/prometheus", "nobody", 65534, ("/prometheus",), NOBODY,
            ('VOLUME ["/prometheus"]', "WORKDIR /prometheus"),
        ),
        Official(
            stack.alertmanager.image, "alertmanager", "/bin/alertmanager", "nobody", 65534, ("/alertmanager",), NOBODY,
            ('VOLUME ["/alertmanager"]', "WORKDIR /alertmanager"),
        ),
        Official(stack.victorialogs.image, "victoria-logs", "/victoria-logs-prod", "0", 0),
        Official(
            stack.jaeger.image, "jaeger", "/cmd/jaeger/jaeger-linux", "10001", 10001,
            lines=("ENV JAEGER_LISTEN_HOST=0.0.0.0", 'VOLUME ["/tmp"]'),
        ),
        Official(stack.otel_gateway.image, "otelcol", collector, "10001:10001", 10001),
    ]  # fmt: skip


def build(docker: Docker, image: Official, folder: Path) -> None:
    """One image from nothing: the program, the libraries it is linked with, and what the official one adds."""
    context = folder / image.program
    context.mkdir()
    path = Path(program(image.program))
    _copy(context, image.entrypoint, path)
    for library in libraries([path]):
        _copy(context, str(library), library)
    (context / "etc").mkdir()
    (context / "etc" / "passwd").write_text(f"root:x:0:0:root:/root:/bin/sh\n{image.passwd}")
    (context / "empty").mkdir()
    owned = [f"COPY --chown={image.uid}:{image.uid} empty {name}" for name in image.folders]
    started = [f"USER {image.user}", f'ENTRYPOINT ["{image.entrypoint}"]']
    (folder / "Dockerfile").write_text("\n".join(["FROM scratch", "COPY . /", *owned, *image.lines, *started]) + "\n")
    docker.run("build", "--quiet", "--tag", image.name, "--file", folder / "Dockerfile", context)


def build_grafana(docker: Docker, folder: Path) -> None:
    """A stand-in, which says so: the official image around it, as its Dockerfile has it, and no Grafana inside.

    On the base of obsctl's own image.
    """
    context = folder / "grafana"
    context.mkdir()
    shutil.copy(Path(__file__).with_name("grafana_stand_in.py"), context / "run.sh")
    (context / "run.sh").chmod(0o755)
    (context / "empty").mkdir()
    (folder / "Dockerfile").write_text(GRAFANA.format(base=BASE))
    docker.run("build", "--quiet", "--tag", Config().components.grafana.image, "--file", folder / "Dockerfile", context)


def build_own(docker: Docker, folder: Path) -> None:
    """obsctl's image, as `make images` makes it, on a base with this machine's Python."""
    build_base(docker, folder)
    make(docker, "images", f"BASE={BASE}")


def make(docker: Docker, *arguments: str) -> None:
    """make with this Docker."""
    environ = {**os.environ, **docker.environ}
    ended = subprocess.run(["make", *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def build_base(docker: Docker, folder: Path) -> None:
    """Python, pip, a shell and the few tools that Dockerfile uses: less than the official image of Python has."""
    context = folder / "base"
    stdlib = Path(sysconfig.get_path("stdlib"))
    target = context / "usr" / "local" / "lib" / stdlib.name
    skip = shutil.ignore_patterns(
        "__pycache__", "test", "tests", "idlelib", "site-packages", "dist-packages", "config-*"
    )
    shutil.copytree(stdlib, target, ignore=skip)
    shutil.copytree(Path(sysconfig.get_path("purelib")) / "pip", target / "pip")
    python = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    _copy(context, "/usr/local/bin/python3", python)
    tools = [Path(found) for name in ("sh", "mkdir", "chown", "env") if (found := shutil.which(name))]
    for tool in tools:
        _copy(context, "/usr/bin/env" if tool.name == "env" else f"/bin/{tool.name}", tool)
    modules = [*target.glob("lib-dynload/*.so"), *Path(sysconfig.get_path("purelib")).rglob("*.so")]
    for library in libraries([python, *tools, *modules]):
        _copy(context, _flat(library), library)
    (context / "etc").mkdir()
    (context / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (context / "etc" / "group").write_text("root:x:0:\n")
    (context / "tmp").mkdir(mode=0o1777)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY . /\nENV PATH=/usr/local/bin:/usr/bin:/bin\n")
    docker.run("build", "--quiet", "--tag", BASE, "--file", folder / "Dockerfile", context)


def _flat(library: Path) -> str:
    """Where the loader finds it without being told: beside libc; the loader itself where programs expect it."""
    return str(library if library.name.startswith("ld-") else _libc().parent / library.name)


def _libc() -> Path:
    return next(library for library in libraries([Path("/bin/sh").resolve()]) if library.name.startswith("libc.so"))


def libraries(programs: Iterable[Path]) -> list[Path]:
    """The shared libraries that these programs are linked with, the loader included; none for a static one."""
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    words = (word for line in listed.splitlines() if not line.endswith(":") for word in line.split())
    return sorted({Path(word) for word in words if word.startswith("/")})


def _copy(context: Path, destination: str, source: Path) -> None:
    target = context / destination.removeprefix("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source.resolve(), target)
