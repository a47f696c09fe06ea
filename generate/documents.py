"""All generated texts: whole files, and the parts of documents that stand between two markers."""

from __future__ import annotations

import json
import re
from pathlib import Path

from generate import example, house, lists, messages, modules, policies, reference, rights
from obsctl.drills.tell.schema import json_schema

ROOT = Path(__file__).parents[1]
PARTS = {
    ("README.md", "commands"): lists.commands,
    ("README.md", "runbooks"): lists.runbooks,
    ("docs/alerts.md", "alerts"): lists.alerts,
    ("docs/architecture.md", "modules"): house.modules,
    ("docs/dashboards.md", "dashboards"): lists.dashboards,
    ("docs/policies.md", "rights"): rights.rights,
    ("docs/policies.md", "policies"): rights.texts,
}
"""(document, name of the part) -> what writes it."""


def texts() -> dict[str, str]:
    """Path, from the project's folder -> the text that should be there."""
    parts = {place: part() for place, part in PARTS.items()}
    parts |= {("docs/configuration.md", name): text for name, text in reference.parts().items()}
    parts |= modules.parts()
    documents = {document: (ROOT / document).read_text(encoding="utf-8") for document, _ in parts}
    for (document, name), text in parts.items():
        documents[document] = with_part(documents[document], name, text)
    schema = json.dumps(json_schema(), indent=1) + "\n"
    files = {
        "docs/drill.schema.json": schema,
        "obsctl/cli/help.txt": lists.help_text(),
        "obsctl/config/obsctl.example.yaml": example.text(),
    }
    return {**documents, **files, **messages.files(), **policies.files()}


def with_part(document: str, name: str, text: str) -> str:
    """The document with this text in the part of that name. Raises ValueError when it has no such part."""
    begin, end = f"<!-- {name}: written by `make generated` -->\n", f"<!-- end of {name} -->"
    found = re.compile(f"(?<={re.escape(begin)}).*(?={re.escape(end)})", re.DOTALL)
    if not found.search(document):
        raise ValueError(f"a document has no place for {name}: it needs the lines {begin}{end}")
    return found.sub(lambda _: f"{text}\n", document)


def write() -> None:
    for old in [*(ROOT / messages.FOLDER).glob("*.txt"), *(ROOT / policies.FOLDER).glob("*.tftpl")]:
        old.unlink()
    for path, text in texts().items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
