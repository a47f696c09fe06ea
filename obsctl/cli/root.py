"""The root command: global options, and commands that are imported only when they run."""

from __future__ import annotations

import importlib
import io
import os
import re
import signal
import sys
from pathlib import Path

import click

from obsctl import __version__, files
from obsctl.cli.app import App
from obsctl.cli.options import Group
from obsctl.errors import Bug, Interrupted, ObsctlError
from obsctl.state import state_folder
from obsctl.ui import Ui, printable

_SECRET = re.compile("TOKEN|PASSWORD|PASSWD|SECRET|KEY|AUTH|WEBHOOK|CREDENTIAL", re.IGNORECASE)
SHORTEST_SECRET = 6
# Name: (module, attribute, line of help). The help is here so that `obsctl --help` imports no command.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "init": ("obsctl.cli.config", "init", "Write a commented obsctl.yaml."),
    "config": ("obsctl.cli.config", "config", "Show the configuration, or its JSON schema for editors."),
    "render": ("obsctl.cli.deploy", "render", "Print every job and file as the cluster would get them."),
    "validate": ("obsctl.cli.deploy", "validate", "Check the configuration and every rendered file, offline."),
    "plan": ("obsctl.cli.deploy", "plan", "Show what a deploy would change."),
    "deploy": ("obsctl.cli.deploy", "deploy", "Bring the cluster to what obsctl.yaml says."),
    "adopt": ("obsctl.cli.deploy", "adopt", "Take over a job of a component's name that obsctl did not make."),
    "lock": ("obsctl.cli.lock", "lock", "Write the digest of each image into obsctl.lock.yaml."),
    "doctor": ("obsctl.cli.doctor", "doctor", "Look for what would stop a deploy or leave it blind."),
    "status": ("obsctl.cli.status", "status", "Show the health and address of every component."),
    "verify": ("obsctl.cli.verify", "verify", "Check that the stack works, from the scrapes to the receivers."),
    "open": ("obsctl.cli.open", "open_", "List the addresses of everything, or open a page."),
    "logs": ("obsctl.cli.logs", "logs", "Show recent lines of a component or a Nomad job."),
    "trace": ("obsctl.cli.trace", "trace", "Draw a trace as a tree."),
    "dashboards": ("obsctl.cli.dashboards", "dashboards", "List Grafana's dashboards, and check them."),
    "policies": ("obsctl.cli.policies", "policies", "Print the smallest ACL policies for each role."),
    "setup": ("obsctl.cli.setup", "setup", "Make what the stack's programs need in a cluster with ACLs."),
    "secrets": ("obsctl.cli.secrets", "secrets", "List what the stack keeps in Nomad Variables, and show it."),
    "drill": ("obsctl.cli.drill", "drill", "Inject a fault and prove that its alert is delivered and clears."),
    "demo": ("obsctl.cli.demo", "demo", "Run two small services and their traffic, to try obsctl on."),
    "dev": ("obsctl.cli.dev", "dev", "Run a real Nomad and Consul on this machine, of one node or several."),
    "serve": ("obsctl.cli.serve", "serve", "Run a program of the cluster; Nomad starts these."),
}


class LazyGroup(Group):
    """A group that knows the names and help of its commands without importing them."""

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
@click.option("-c", "--config", "config_path", type=click.Path(path_type=Path), envvar="OBSCTL_CONFIG",
              help="The configuration file; default: obsctl.yaml here or in a folder above.")  # fmt: skip
@click.option("-e", "--env", envvar="OBSCTL_ENV", help="Lay obsctl.NAME.yaml over it.", metavar="NAME")
@click.option("--json", "as_json", is_flag=True, envvar="OBSCTL_JSON",
              help="One JSON document on stdout, the rest on stderr.")  # fmt: skip
@click.option("-v", "--verbose", is_flag=True, envvar="OBSCTL_VERBOSE", help="Show progress, also without a terminal.")
@click.option("-q", "--quiet", is_flag=True, envvar="OBSCTL_QUIET", help="Show only results and errors.")
@click.option("--no-color", is_flag=True, envvar="OBSCTL_NO_COLOR", help="No colours.")
@click.version_option(__version__, "-V", "--version", prog_name="obsctl")
@click.pass_context
def cli(
    ctx: click.Context, config_path: Path | None, env: str | None,
    as_json: bool, verbose: bool, quiet: bool, no_color: bool,
) -> None:  # fmt: skip
    """Deploy an observability stack on Nomad and Consul, and prove by drill that its alerts work.

    Example: obsctl deploy, then obsctl drill stop response-service
    """
    verbosity = -1 if quiet else int(verbose)
    ui = Ui(as_json=as_json, verbosity=verbosity, color=False if no_color else None)
    ctx.obj = App(ui=ui, config_path=config_path, env=env)


# The global options. They may also follow the command, because people append --json to what they have just typed.
FLAGS = {"--json", "-v", "--verbose", "-q", "--quiet", "--no-color"}
WITH_VALUE = {"-c", "--config", "-e", "--env"}


def globals_first(argv: list[str]) -> list[str]:
    """The arguments with the global options moved to the front. What follows `--` stays in its place."""
    front: list[str] = []
    rest: list[str] = []
    arguments = iter(argv)
    for argument in arguments:
        if argument == "--":
            return [*front, *rest, argument, *arguments]
        if argument in FLAGS or argument.startswith(("--config=", "--env=")):
            front.append(argument)
        elif argument in WITH_VALUE:
            front += [argument, *([value] if (value := next(arguments, None)) is not None else [])]
        else:
            rest.append(argument)
    return [*front, *rest]


def run(argv: list[str] | None = None) -> None:
    """Run the command line and exit. Here errors become messages and exit codes."""
    arguments = globals_first(sys.argv[1:] if argv is None else argv)
    ui = Ui(as_json="--json" in arguments or "OBSCTL_JSON" in os.environ)
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        result: object = cli.main(args=arguments, prog_name="obsctl", standalone_mode=False)
    except click.ClickException as error:
        sys.exit(_fail_usage(ui, error))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(_fail(ui, _interrupted()))
    except ObsctlError as error:
        sys.exit(_fail(ui, error))
    except BrokenPipeError:  # nobody reads our output any more, as in `obsctl render | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # takes what is flushed at exit
        sys.exit(1)
    except Exception as error:
        sys.exit(_fail(ui, _interrupted() if _was_an_interrupt(error) else _bug(error)))
    sys.exit(result if isinstance(result, int) else 0)


def _interrupt(number: int, frame: object) -> None:
    """SIGTERM ends a command like Ctrl-C, with its clean-up."""
    raise KeyboardInterrupt


def _interrupted() -> ObsctlError:
    return Interrupted("interrupted", hint="nothing goes on in the background")


def _was_an_interrupt(error: Exception) -> bool:
    """An interrupt while a class is made comes as another error: Python 3.11 raises RuntimeError from it, and pydantic
    SchemaError with its name as the last line."""
    return isinstance(error.__cause__, KeyboardInterrupt) or str(error).rstrip().endswith("KeyboardInterrupt:")


def _fail(ui: Ui, error: ObsctlError) -> int:
    _document(ui, error.message, error.hint, error.exit_code)
    ui.error(error)
    return error.exit_code


def _fail_usage(ui: Ui, error: click.ClickException) -> int:
    """What was typed is no command of obsctl's."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "obsctl"
    _document(ui, error.format_message(), f"{path} --help", error.exit_code)
    words = io.StringIO()
    error.show(file=words)
    click.echo(printable(words.getvalue()), err=True, nl=False)  # it may list names that Consul has
    return error.exit_code


def _document(ui: Ui, message: str, hint: str, exit_code: int) -> None:
    if ui.as_json:
        ui.result("error", {"error": {"message": message, "hint": hint, "exit_code": exit_code}}, "")


def _bug(error: Exception) -> ObsctlError:
    """An unexpected error, with versions and traceback in a file of the user's state folder."""
    import platform
    import tempfile
    import traceback

    try:
        folder = state_folder() / "crashes"
        files.private_folder(folder)
    except (OSError, ObsctlError):
        folder = Path(tempfile.gettempdir())
    descriptor, log = tempfile.mkstemp(prefix="crash-", suffix=".log", dir=folder)
    head = f"obsctl {__version__}, Python {platform.python_version()}, {platform.platform()}\n\n"
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(head + _without_secrets("".join(traceback.format_exception(error))))
    message = _without_secrets(f"a bug in obsctl: {type(error).__name__}: {error}")
    return Bug(message, hint=f"please report it with the log {log}")


def _without_secrets(text: str) -> str:
    """An unexpected error may repeat a value of the environment; a variable with a secret is known by its name."""
    values = {value for name, value in os.environ.items() if _SECRET.search(name) and len(value) >= SHORTEST_SECRET}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "***")
    return text
