"""Has a job changed? Its mark tells that the configuration changed, Nomad's plan diff that somebody changed the job.

The mark is made of the text that obsctl rendered: a hash of the job as Nomad parses it would be another one after every
upgrade of Nomad, and would restart the whole stack.

Nomad adds to every job that it registers: defaults, and constraints that follow from the job ("the node has Consul
1.8 or newer"). Another version of Nomad adds other things, so after an upgrade its plan shows differences that nobody
made (1.6.1 to 2.0.5: `Service.Cluster`, and the constraint on Consul's version).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from obsctl import names
from obsctl.clients import jobs
from obsctl.clients.protocols import NomadApi
from obsctl.model import Json, digest

SPEC_KIND = "hcl-"
"""How the mark of a rendered text begins. A mark without it is from an older obsctl and cannot be compared."""
_HEREDOC = re.compile(r"<<-?([\w-]+)$")
_Constraint = tuple[str, ...]
_FIELDS = ("LTarget", "Operand", "RTarget")


def spec_of(hcl: str) -> str:
    """The mark of a job with this text."""
    return SPEC_KIND + digest("\n".join(_significant_lines(hcl)).encode())


def is_another(spec: str, desired_spec: str) -> bool:
    """Whether a job with this mark was made from another text; False when the mark cannot be compared."""
    return spec.startswith(SPEC_KIND) and spec != desired_spec


def _significant_lines(hcl: str) -> Iterator[str]:
    """Without indentation, blank lines and comments, which mean nothing to Nomad. Heredocs stay as they are."""
    heredoc_end = ""
    for line in hcl.split("\n"):
        text = line.strip()
        if heredoc_end:
            yield line
            heredoc_end = "" if text == heredoc_end else heredoc_end
        elif text and not text.startswith("#"):
            yield text
            heredoc = _HEREDOC.search(text)
            heredoc_end = heredoc[1] if heredoc else ""


def differences(diff: Json, job: Json, nomad: NomadApi) -> list[str]:
    """One short line for each difference between the registered job and `job`.

    diff: Nomad's plan diff for `job`. When it is not empty, Nomad is asked what it would change in the registered job
    as it is: that part comes from the server itself.
    """
    lines = list(_lines(_without_implied_constraints(diff, set(_constraints(job)))))
    if not lines:
        return []
    of_the_server = Counter(_lines(nomad.plan_job(nomad.job(job["ID"])).get("Diff") or {}))
    return list((Counter(lines) - of_the_server).elements())


def _lines(diff: Json, path: str = "") -> Iterator[str]:
    """Nomad's nested diff as lines, without obsctl's own marks."""
    if diff.get("Type") in (None, "None"):
        return
    for field in diff.get("Fields") or []:
        if field["Type"] != "None" and not field["Name"].startswith(f"Meta[{names.MARK_PREFIX}"):
            yield _line(path, field)
    for kind in ("TaskGroups", "Tasks", "Objects"):
        for child in diff.get(kind) or []:
            yield from _lines(child, f"{path}{child.get('Name', kind)}.")


def _line(path: str, field: Json) -> str:
    """The name alone for what may be long or secret (templates, env)."""
    name = f"{path}{field['Name']}"
    if any(part in name for part in ("Env", "Template", "EmbeddedTmpl")):
        return f"{name} changed"
    return f"{name}: {field.get('Old') or '(none)'} → {field.get('New') or '(none)'}"


def _without_implied_constraints(diff: Json, own: set[_Constraint]) -> Json:
    """The diff without the constraints that the server adds, and without those that they replace.

    own: the constraints of the job itself. What appears in the diff as new and is not among them, the server added.
    """
    groups = [{**group, "Objects": _without(group.get("Objects") or [], own)} for group in diff.get("TaskGroups") or []]
    return {**diff, "Objects": _without(diff.get("Objects") or [], own), "TaskGroups": groups}


_OF_CONSUL = "${attr.consul.version}"


def _without(objects: list[Json], own: set[_Constraint]) -> list[Json]:
    implied = {id(item) for item in objects if _is_new(item) and _values(item, "New") not in own}
    replaced = Counter(_values(item, "New")[:2] for item in objects if id(item) in implied)
    others = []
    for item in objects:
        subject = _values(item, "Old")[:2] if item["Name"] == "Constraint" and item["Type"] == "Deleted" else ()
        if subject[:1] == (_OF_CONSUL,) and subject not in replaced and _values(item, "Old") not in own:
            continue  # of services at a task Nomad 1.6 asks for it in the group, and a newer one does not
        if replaced[subject] > 0:  # what it demanded before; a further one is not the server's
            replaced[subject] -= 1
        elif id(item) not in implied:
            others.append(item)
    return others


def _is_new(item: Json) -> bool:
    return bool(item["Name"] == "Constraint" and item["Type"] == "Added")


def _values(constraint: Json, side: str) -> _Constraint:
    fields = {field["Name"]: field[side] for field in constraint["Fields"]}
    return tuple(fields.get(name, "") for name in _FIELDS)


def _constraints(job: Json) -> Iterator[_Constraint]:
    for owner in (job, *jobs.groups(job), *jobs.tasks(job)):
        for constraint in owner.get("Constraints") or []:
            yield tuple(constraint.get(name, "") for name in _FIELDS)
