"""Taking over a job that somebody else made: which component of this stack it becomes, or why it cannot."""

from __future__ import annotations

from obsctl import names
from obsctl.clients.protocols import NomadApi
from obsctl.errors import NotFound, ObsctlError
from obsctl.stack.render import Rendered

_NOTHING_CHANGED = "nothing was changed; obsctl plan shows what this stack has and lacks"


def component_of(job_id: str, rendered: Rendered, nomad: NomadApi) -> str:
    """The component whose job has this id. Raises ObsctlError unless the job is there, and nobody has marked it."""
    components = {job.job_id: job.component for job in rendered.jobs}
    if job_id not in components:
        there = f"its jobs are {', '.join(sorted(components))}"
        raise ObsctlError(f"{job_id} is no job of stack {rendered.stack}: {there}", hint=_NOTHING_CHANGED)
    try:
        job = nomad.job(job_id)
    except NotFound:
        hint = f"obsctl deploy {components[job_id]} makes it"
        raise ObsctlError(f"there is no job {job_id} that could be taken over", hint=hint) from None
    owner = (job.get("Meta") or {}).get(names.STACK_MARK)
    if owner == rendered.stack:
        hint = f"obsctl deploy {components[job_id]} brings it to what obsctl.yaml says"
        raise ObsctlError(f"{job_id} belongs to stack {owner} already", hint=hint)
    if owner:
        hint = "choose another name with stack: in obsctl.yaml; what another stack has is not taken away"
        raise ObsctlError(f"{job_id} belongs to stack {owner}; it is not taken over", hint=hint)
    return components[job_id]
