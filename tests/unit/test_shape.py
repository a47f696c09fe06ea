"""The house's own rules: who imports whom, what every error says, what `obsctl --help` costs."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from obsctl import names

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "obsctl"
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = {
    file: ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for file in FILES
}

# Each folder of obsctl may import itself, the files beside obsctl/__init__.py, and these. A new arrow is drawn here.
LAYERS: dict[str, set[str]] = {
    "config": set(),
    "clients": set(),
    "content": {"config"},
    "stack": {"config", "clients", "content", "telemetry"},
    "setup": {"config", "clients"},
    "local": {"config", "clients", "setup"},
    "drills": {"config", "content", "clients", "stack"},
    "services": {"clients", "drills"},
    "demo": {"clients", "services"},
    "telemetry": {"clients"},
    "doctor": {"config", "clients", "stack", "setup"},
    "verify": {"config", "clients", "content", "stack"},
    "cli": {
        "doctor",
        "verify",
        "config",
        "clients",
        "content",
        "stack",
        "local",
        "setup",
        "drills",
        "services",
        "demo",
        "telemetry",
    },
}
# What may stand where it is, each with its reason; a rise has to be explained here.
TYPE_IGNORES = 0
NOQAS = 5
HEAVY = {"requests", "nomad", "consul", "pydantic", "jinja2", "rich", "psutil", "flask", "yaml"}


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(file: Path, *, lazy: bool = True) -> Iterator[str]:
    """Modules of obsctl that the file imports, those for type checkers left out; lazy: inside functions too."""
    yield from _imports(tree(file).body, lazy)


def _imports(body: list[ast.stmt], lazy: bool) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("obsctl"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("obsctl"):
            yield from (_module(node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        elif lazy or not isinstance(node, ast.FunctionDef):
            children = [child for child in ast.walk(node) if child is not node and isinstance(child, ast.stmt)]
            yield from _imports([child for child in children if isinstance(child, ast.Import | ast.ImportFrom)], lazy)


def _module(package: str, name: str) -> str:
    return f"{package}.{name}" if f"{package}.{name}" in NAMES.values() else package


def relative(file: Path) -> str:
    return str(file.relative_to(PACKAGE.parent))


def folder_of(module: str) -> str | None:
    """Which of the layers the module belongs to; None for those that everybody shares."""
    return next((part for part in module.split(".")[1:2] if (PACKAGE / part).is_dir()), None)


@pytest.mark.parametrize("folder", LAYERS)
def test_a_folder_imports_only_what_lies_above_it(folder: str) -> None:
    files = [file for file in FILES if folder_of(NAMES[file]) == folder]
    allowed = LAYERS[folder] | {folder, None}
    assert {(NAMES[file], used) for file in files for used in imports(file) if folder_of(used) not in allowed} == set()


def test_every_folder_has_its_place_among_the_layers() -> None:
    assert {folder_of(NAMES[file]) for file in FILES} - {None} == set(LAYERS)


def test_no_module_imports_itself_on_a_detour() -> None:
    graph = {NAMES[file]: {module for module in imports(file, lazy=False) if module != NAMES[file]} for file in FILES}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize(
    ("module", "places"),
    [
        ("click", "obsctl/cli/"),
        ("rich", "obsctl/ui.py"),
        ("pydantic", "obsctl/config/"),
        ("psutil", "obsctl/local/"),
        ("nomad", "obsctl/clients/nomad_api.py"),
        ("consul", "obsctl/clients/consul_api.py"),
    ],
)
def test_a_library_lives_in_one_place(module: str, places: str) -> None:
    users = {relative(file) for file in FILES if module in _libraries(file)}
    assert users
    assert {user for user in users if not user.startswith(places)} <= {"obsctl/clients/failures.py"}


def _libraries(file: Path) -> set[str]:
    nodes = list(ast.walk(tree(file)))
    plain = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {(node.module or "").split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}


def test_annotations_are_never_evaluated() -> None:
    without = [
        relative(file)
        for file in FILES
        if any(isinstance(node, ast.AnnAssign | ast.FunctionDef) for node in ast.walk(tree(file)))
        and "annotations"
        not in {alias.name for node in tree(file).body if isinstance(node, ast.ImportFrom) for alias in node.names}
    ]
    assert without == []


def calls(name: str) -> set[str]:
    return {
        relative(file)
        for file in FILES
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name
    }


def test_only_the_ui_prints_and_only_wait_sleeps() -> None:
    assert calls("print") == {"obsctl/ui.py"}
    assert calls("time.sleep") == {"obsctl/wait.py"}


def test_every_program_gets_an_environment_that_is_chosen() -> None:
    """Without `env` it would get all of ours, tokens too. supervised.py passes on what it has got itself."""
    environs = [
        (relative(file), next((ast.unparse(word.value) for word in node.keywords if word.arg == "env"), "os.environ"))
        for file in FILES
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).startswith(("subprocess.", "os.system", "os.popen"))
        and ast.unparse(node.func) != "subprocess.TimeoutExpired"
    ]
    assert len(environs) >= 8
    assert {file for file, environ in environs if environ == "os.environ"} == {"obsctl/local/supervised.py"}
    assert calls("webbrowser.open") == set(), "its browser gets all of ours"


UNMISTAKABLE = {
    *(names.STACK_MARK, names.COMPONENT_MARK, names.SPEC_MARK, names.VERSION_MARK, names.RETRY_MARK),
    *(names.SCRAPE_TAG, names.STACK_META, names.LOGS_META, names.VOLUMES_META, names.ALLOC_VOLUME, names.ROOT_VOLUME),
    *(names.DEMO_PHRASES_KEY, names.variable_path(""), names.REPLICA_LABEL),
    *(names.ALERTMANAGER_CLUSTER, names.JAEGER_OTLP, names.GATEWAY_GRPC, names.GATEWAY_METRICS),
}
"""Not even as a part of a text, such as a message."""
ALERTS = {names.WATCHDOG, names.SERVICE_DOWN, names.JOB_NOT_RUNNING, names.REPLICA_MISSING, names.COMPONENT_DOWN}
WORDS = ALERTS | {name for key, name in vars(names).items() if key.isupper() and "-" in str(name)}
"""Messages use these as words. Components without a dash are left out: they are also commands and formats."""


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """Each text in the code of a file with its line, docstrings and keys of obsctl.yaml left out."""
    left_out = {
        id(node.value)
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    left_out |= {
        id(node.value) for node in ast.walk(tree(file)) if isinstance(node, ast.keyword) and node.arg == "alias"
    }
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.lineno, node.value


def test_a_name_on_the_cluster_is_spelled_in_one_place() -> None:
    again = [
        f"{relative(file)}:{line}: {text}"
        for file in FILES
        if NAMES[file] != "obsctl.names"
        for line, text in texts(file)
        if text in WORDS or any(re.search(rf"(?<![\w.]){re.escape(name)}(?!\.?\w)", text) for name in UNMISTAKABLE)
    ]
    assert again == []


def test_templates_spell_no_name_of_the_cluster_themselves() -> None:
    texts = {
        file: file.read_text(encoding="utf-8") for kind in ("jobs", "templates") for file in (ROOT / kind).rglob("*.j2")
    }
    assert texts
    assert [(file.name, name) for file, text in texts.items() for name in UNMISTAKABLE if name in text] == []


@cache
def classes(file: Path) -> dict[str, set[str]]:
    """Class -> its bases, of one file."""
    found = [node for node in ast.walk(tree(file)) if isinstance(node, ast.ClassDef)]
    return {node.name: {ast.unparse(base) for base in node.bases} for node in found}


@cache
def errors() -> set[str]:
    """The names of ObsctlError and of all classes below it."""
    bases = {name: below for file in FILES for name, below in classes(file).items() if below}
    family = {"ObsctlError"}
    while more := {name for name, below in bases.items() if below & family} - family:
        family |= more
    return family


def test_every_error_that_is_made_says_what_to_do_next() -> None:
    of_findings = {"ConfigError"}  # makes its hint of its findings
    without = [
        f"{relative(file)}:{node.lineno}"
        for file in FILES
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func)
        in errors() - of_findings - {name for name, bases in classes(file).items() if not bases}
        and "hint" not in {keyword.arg for keyword in node.keywords}
    ]
    assert without == []


def test_the_number_of_exceptions_from_the_checks_is_known() -> None:
    text = "\n".join(file.read_text(encoding="utf-8") for file in FILES)
    assert (text.count("type: ignore"), len(re.findall(r"# noqa\b", text))) == (TYPE_IGNORES, NOQAS)
    assert re.findall(r"# (?:noqa|type: ignore)(?!: ?\w|\[)", text) == [], "each names the rule that it breaks"


PARTICIPLES = {"asked", "found", "given", "kept", "made", "one", "said", "seen", "told", "wanted"}


def defined(file: Path) -> Iterator[tuple[int, str]]:
    """Each name that a file gives to something, with its line."""
    for node in ast.walk(tree(file)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.FunctionDef(name=name):
                yield node.lineno, name


def test_a_name_says_what_the_thing_is() -> None:
    of_json = {"obsctl/stack/status.py": {"wanted"}}
    again = [
        f"{relative(file)}:{line}: {name}"
        for file in FILES
        for line, name in defined(file)
        if name.strip("_") in PARTICIPLES - of_json.get(relative(file), set())
    ]
    assert again == []


def test_functions_and_files_are_short() -> None:
    """At most 40 and 300 lines: what is longer does more than one thing."""
    functions = [
        f"{relative(file)}:{node.lineno} {node.name}"
        for file in FILES
        for node in ast.walk(tree(file))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 40
    ]
    files = [relative(file) for file in FILES if len(file.read_text(encoding="utf-8").splitlines()) > 300]
    assert functions + files == []


def test_help_imports_no_library_but_click() -> None:
    code = (
        "import sys; from obsctl.cli.root import cli; cli.main(['--help'], standalone_mode=False);"
        f" print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Commands:" in ended.stdout
    assert ended.stderr.strip() == "[]"


TESTS = sorted((ROOT / "tests").rglob("*.py"))
# Of the standard library; what a test needs of them has no other name.
PRIVATE_ALLOWED = {"os._exit", "sys._base_executable"}


def test_tests_share_by_modules_beside_their_folders() -> None:
    """A test imports no other test and nothing from a folder of tests."""
    folders = {file.parent.name for file in TESTS if file.name.startswith("test_")}
    imported = {
        (str(file.relative_to(ROOT)), name)
        for file in TESTS
        for node in ast.walk(tree(file))
        if isinstance(node, ast.ImportFrom)
        for name in [f"{node.module}.", *(f"{node.module}.{alias.name}." for alias in node.names)]
    }
    wrong = tuple(f"tests.{part}." for part in (*folders, "conftest"))
    assert {(file, name) for file, name in imported if name.startswith(wrong)} == set()


def test_tests_keep_to_what_is_public() -> None:
    """A test reads no private state and replaces no private function; fakes have levers for what a test needs."""
    assert {
        f"{file.relative_to(ROOT)}:{node.lineno} {name}"
        for file in TESTS
        for node in ast.walk(tree(file))
        for name in _private_names(node)
        if name not in PRIVATE_ALLOWED
    } == set()


def _private_names(node: ast.AST) -> Iterator[str]:
    """What begins with one underscore: `other._name`, imported from obsctl, or named to monkeypatch."""
    if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr):
        if ast.unparse(node.value) not in ("self", "cls"):
            yield ast.unparse(node)
    elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("obsctl"):
        yield from (alias.name for alias in node.names if re.match("_[a-z]", alias.name))
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("monkeypatch.setattr", "patch.object")):
        texts = [part.value for part in node.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        yield from (text for text in texts if re.match("_[a-z]", text.rpartition(".")[2]))
