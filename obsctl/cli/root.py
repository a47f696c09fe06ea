"""The root command: global options, and commands that are imported only when they run."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import click

from obsctl import __version__
from obsctl.cli.app import App
from obsctl.errors import Interrupted, ObsctlError
from obsctl.ui import Ui

# name: (module, attribute, one line of help). The help stands here so that `obsctl --help` imports no command.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "init": ("obsctl.cli.config", "init", "Write a commented obsctl.yaml."),
    "config": ("obsctl.cli.config", "config", "Show the configuration, or its JSON schema for editors."),
    "render": ("obsctl.cli.deploy", "render", "Print every job and file as the cluster would get them."),
    "validate": (
        "obsctl.cli.deploy",
        "validate",
        "Check the configuration and every rendered file, offline.",
    ),
    "plan": ("obsctl.cli.deploy", "plan", "Show what a deploy would change."),
    "deploy": ("obsctl.cli.deploy", "deploy", "Bring the cluster to what obsctl.yaml says."),
    "status": ("obsctl.cli.status", "status", "Health of every component, and where it is."),
    "drill": (
        "obsctl.cli.drill",
        "drill",
        "Inject a fault and prove that its alert is delivered and clears.",
    ),
    "dev": ("obsctl.cli.dev", "dev", "A real one-node Nomad and Consul on 127.0.0.1."),
    "serve": ("obsctl.cli.serve", "serve", "The programs that obsctl runs on the cluster."),
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"auto_envvar_prefix": "OBSCTL", "help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    envvar="OBSCTL_CONFIG",
    help="The configuration file; default: obsctl.yaml here or in a folder above.",
)
@click.option("-e", "--env", envvar="OBSCTL_ENV", help="Lay obsctl.NAME.yaml over it.", metavar="NAME")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="OBSCTL_JSON",
    help="One JSON document on stdout, the rest on stderr.",
)
@click.option("-v", "--verbose", is_flag=True, envvar="OBSCTL_VERBOSE", help="Say more.")
@click.option("-q", "--quiet", is_flag=True, envvar="OBSCTL_QUIET", help="Say only results and errors.")
@click.option("--no-color", is_flag=True, envvar="OBSCTL_NO_COLOR", help="No colours.")
@click.version_option(__version__, "-V", "--version", prog_name="obsctl")
@click.pass_context
def cli(
    ctx: click.Context,
    config_path: Path | None,
    env: str | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    no_color: bool,
) -> None:
    """Deploy an observability stack on Nomad and Consul, and prove by drill that its alerts work.

    Example: obsctl deploy, then obsctl drill stop response-service
    """
    verbosity = -1 if quiet else int(verbose)
    ui = Ui(as_json=as_json, verbosity=verbosity, color=False if no_color else None)
    ctx.obj = App(ui=ui, config_path=config_path, env=env)


def run(argv: list[str] | None = None) -> None:
    """Run the command line and exit: the boundary at which errors become words and exit codes."""
    try:
        result: Any = cli.main(args=argv, prog_name="obsctl", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        Ui().error(Interrupted("interrupted", hint="nothing runs on in the background"))
        sys.exit(Interrupted.exit_code)
    except ObsctlError as error:
        Ui().error(error)
        sys.exit(error.exit_code)
    sys.exit(result if isinstance(result, int) else 0)
