"""Every text that a user may read, taken from the source: one file a package, so that they can be read aloud.

A text is a literal of at least two words: messages, hints, events, reasons, titles. Docstrings are not among them, nor
what click shows as help. What is filled in stands as in the code, {like_this}; hints are indented below their message.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from obsctl.model import Json

ROOT = Path(__file__).parents[1]
FOLDER = "tests/messages"
_WORD = re.compile(r"[A-Za-z]{2,}")
_STYLES = {"bold red"}
_NOT_SHOWN = re.compile(r"re\.\w+|click\.(command|group|option|argument)|\w+\.(command|group)")


def files() -> dict[str, str]:
    """Path of the file -> its text, of every package of obsctl."""
    sources = sorted((ROOT / "obsctl").rglob("*.py")) + sorted((ROOT / "obsctl/drills/library").glob("*.yaml"))
    packages = sorted({source.parent for source in sources})
    texts = {
        package: "".join(_of_file(source) for source in sources if source.parent == package) for package in packages
    }
    names = {package: ".".join(package.relative_to(ROOT).parts[1:]) or "obsctl" for package in packages}
    return {f"{FOLDER}/{names[package]}.txt": text for package, text in texts.items() if text}


def _of_file(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    lines = list(_texts(ast.parse(text)) if file.suffix == ".py" else _of_experiment(yaml.safe_load(text)))
    return "\n".join([f"# {file.relative_to(ROOT)}", *lines, "", ""]) if lines else ""


def _of_experiment(document: Json) -> Iterator[str]:
    yield from (f"  {document[key]}" for key in ("help", "title", "question"))


def _texts(node: ast.AST, hint: bool = False) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr | ast.Constant):
        text = _text(node).strip()
        if " " in text and _WORD.search(re.sub("{[^}]*}", "", text)) and text not in _STYLES:
            yield ("    → " if hint else "  ") + re.sub(r"\n\s*", "\n      ", text)
        return
    for child in _children(node):
        yield from _texts(child, hint or _is_hint(child))


def _is_hint(node: ast.AST) -> bool:
    """Whether it is given as a hint, or put into a variable of that name."""
    given = isinstance(node, ast.keyword) and node.arg == "hint"
    return given or (isinstance(node, ast.Assign) and "hint" in ast.unparse(node.targets[0]))


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """What may hold texts: no docstrings, no patterns, no help of click."""
    if isinstance(node, ast.Call) and _NOT_SHOWN.fullmatch(ast.unparse(node.func)):
        return
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):
            yield child


def _text(node: ast.JoinedStr | ast.Constant) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(_text(part) if isinstance(part, ast.Constant) else f"{{{_filled_in(part)}}}" for part in node.values)


def _filled_in(part: ast.expr) -> str:
    return ast.unparse(part.value) if isinstance(part, ast.FormattedValue) else ""
