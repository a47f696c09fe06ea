"""Carries out a plan: one step after the other, and all changes of a step at once.

A job is done when it is healthy and the jobs that it needs are done. So gates give the order, not the starts.
"""

from __future__ import annotations

import re
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import chain, groupby

from obsctl import names
from obsctl.clients.jobs import is_alive
from obsctl.config.catalog import ROWS
from obsctl.errors import Conflict, Interrupted, ObsctlError
from obsctl.model import Event
from obsctl.stack.health import Tools, wait_healthy
from obsctl.stack.observe import Desired, DesiredJob, Observed, registered_as
from obsctl.stack.plan import Action, Change, Plan
from obsctl.stack.reload import Readers, readers_of_items, readers_of_key, wait_reloaded
from obsctl.wait import HICCUPS, wait_until

_POLL = 0.2  # seconds
_DONE = {Action.CREATE: "created", Action.UPDATE: "updated", Action.STOP: "stopped", Action.NONE: "left"}


class ApplyFailed(ObsctlError):
    """A change failed. The message says what and why, and what was and was not changed."""


class NeedFailed(ObsctlError):
    """A job is fine, but a job that it needs is not. roots: the jobs that failed first."""

    def __init__(self, message: str, *, hint: str, roots: tuple[str, ...]) -> None:
        super().__init__(message, hint=hint)
        self.roots = roots


def apply(plan: Plan, desired: Desired, observed: Observed, tools: Tools) -> tuple[Change, ...]:
    """Make the effective changes of `plan`, and return them. The timeout is for each job.

    Raises ApplyFailed, or Interrupted after Ctrl-C; both name what was changed and what was not.
    """
    work = _Work(plan, desired, observed, tools)
    try:
        for _, changes in groupby(plan.effective, key=lambda change: change.step):
            _together(list(changes), work)
    except KeyboardInterrupt:
        message = _with_balance("interrupted", plan, work.done)
        raise Interrupted(message, hint="run obsctl deploy to continue; nothing was rolled back") from None
    except ObsctlError as error:
        raise ApplyFailed(_with_balance(error.message, plan, work.done), hint=error.hint) from error
    return tuple(change for change in plan.effective if change in work.done)


def _together(changes: list[Change], work: _Work) -> None:
    """All changes of one step at once; when one fails, the others still run to their end."""
    gates: dict[str, Future[None]] = {change.name: Future() for change in changes}
    work.gates |= gates
    with ThreadPoolExecutor(max_workers=len(changes)) as pool:  # a thread each, because one may wait for another
        try:
            for change in changes:
                pool.submit(work.change, change)
            errors = [error for gate in gates.values() if (error := _failure(gate))]
        except KeyboardInterrupt:
            work.cancelled.set()
            raise
    if errors:
        errors.sort(key=lambda error: isinstance(error, NeedFailed))  # what failed first comes first
        messages = dict.fromkeys(error.message for error in errors)  # a lost lock is the same for all
        raise ObsctlError("\n".join(messages), hint=errors[0].hint)


def _failure(future: Future[None]) -> ObsctlError | None:
    try:
        future.result()
    except ObsctlError as error:
        return error
    return None


def _with_balance(message: str, plan: Plan, done: list[Change]) -> str:
    """The message, and what was changed and what was not."""
    changed = [change for change in plan.effective if change in done]
    left = [change for change in plan.effective if change not in done]
    lines = [message, f"changed: {_names(changed)}", f"not changed, or not confirmed: {_names(left)}"]
    return "\n  ".join(lines)


def _names(changes: list[Change]) -> str:
    return ", ".join(change.shown for change in changes) or "nothing"


class _Work:
    """Makes single changes, in many threads at once.

    done: what was changed and confirmed. gates: the name of a change that was begun -> how it ends.
    """

    def __init__(self, plan: Plan, desired: Desired, observed: Observed, tools: Tools) -> None:
        self.cancelled = threading.Event()
        self.done: list[Change] = []
        self.gates: dict[str, Future[None]] = {}
        self._check_lock = tools.check
        self._tools = replace(tools, check=self._check)
        self._stack = desired.stack
        self._jobs = {job.job_id: job for job in desired.jobs}
        self._content_of = {content.key: content for content in desired.content}
        # A job that changes too has a gate of its own.
        self._stays = {change.name for change in plan.changes if change.kind == "job" and change.action is Action.NONE}
        self._variables = desired.variables
        self._volumes = {volume.on(node): (volume, node) for volume in desired.volumes for node in observed.nodes}
        self._observed = observed.jobs

    def change(self, change: Change) -> None:
        """Make it, wait for its effect, and tell the result to its gate."""
        try:
            self._change(change)
        except BaseException as error:  # goes to everything that waits for the gate
            self.gates[change.name].set_exception(error)
        else:
            self.gates[change.name].set_result(None)

    def _change(self, change: Change) -> None:
        tools, started = self._tools, self._tools.clock.monotonic()
        self._check()
        tools.emit(Event(change.shown, "start", f"{change.action.value}: {change.reason}"))
        try:
            kinds = {"variable": self._variable, "content": self._content, "volume": self._volume, "job": self._job}
            kinds[change.kind](change)
        except Conflict as error:
            tools.emit(Event(change.shown, "failed", "somebody else changed it meanwhile"))
            raise ObsctlError(
                f"{change.shown} was changed by somebody else after the plan was made ({error.message})",
                hint="run obsctl deploy again: it makes a new plan",
            ) from error
        except ObsctlError as error:
            text = re.sub(rf"^{re.escape(change.shown)}:? ", "", error.message.splitlines()[0])
            tools.emit(Event(change.shown, "failed", text))
            raise
        self.done.append(change)
        tools.emit(Event(change.shown, "ok", f"{_DONE[change.action]} in {tools.clock.monotonic() - started:.1f} s"))

    def _variable(self, change: Change) -> None:
        nomad, path = self._tools.nomad, change.name
        items = {name: secret.reveal() for name, secret in self._variables[path].items()}
        job = next((job for job in self._stays if names.variable_path(job) == path), "")
        before = nomad.variable(path) if job and change.action is Action.UPDATE else None
        new = [name for name, value in items.items() if before and before.items.get(name) != value]
        readers = readers_of_items(nomad, job, path, new) if new else None
        nomad.put_variable(path, items, cas=change.index)
        self._await(readers, change.shown, path)

    def _content(self, change: Change) -> None:
        tools, key = self._tools, change.name
        if change.action is Action.STOP:
            tools.consul.delete(key, cas=change.index)
            return
        content = self._content_of[key]
        job = names.job_id(self._stack, content.component)
        is_read = change.action is Action.UPDATE and job in self._stays
        readers = readers_of_key(tools.nomad, job, key) if is_read else None
        tools.consul.put(key, content.value.encode(), cas=change.index)
        self._await(readers, key, key.removeprefix(f"{names.kv_prefix(self._stack)}/"))

    def _await(self, readers: Readers | None, shown: str, file: str) -> None:
        """Wait until those whom Nomad signals or restarts for the change run with it."""
        if readers and readers.tasks:
            self._tools.emit(Event(shown, "progress", f"waiting until {readers.job['ID']} uses it"))
            wait_reloaded(self._tools, readers, file)

    def _volume(self, change: Change) -> None:
        nomad = self._tools.nomad
        volume, node = self._volumes[change.name]
        created = nomad.create_volume(volume.request(node["ID"]))

        def ready() -> bool:
            self._check()
            return any(entry["ID"] == created and entry["State"] == "ready" for entry in nomad.volumes())

        wait_until(
            ready,
            timeout=self._tools.timeout,
            failure=f"the volume {change.name} was not ready",
            hint=f"nomad volume status -type host {created} shows its state",
            clock=self._tools.clock,
            tolerate=HICCUPS,
        )

    def _job(self, change: Change) -> None:
        if change.action is Action.STOP:
            self._stop(change.name, change.index)
            return
        tools, desired = self._tools, self._jobs[change.name]
        if ROWS[desired.component].waits:
            self._wait_for_needs(desired, started=False)
        if change.replaces:
            self._wait_for_watchers(desired)
        current = self._observed.get(change.name)
        job = registered_as(current, desired) if current else desired.job
        eval_id = tools.nomad.register_job(job, enforce_index=change.index)
        wait_healthy(tools, desired.job_id, eval_id)
        self._wait_for_needs(desired, started=True)

    def _wait_for_watchers(self, watched: DesiredJob) -> None:
        """Wait until the jobs that watch others are done or have failed."""
        for name, job in self._jobs.items():
            if name in self.gates and job is not watched and ROWS[job.component].watches:
                self._end_of(name)

    def _wait_for_needs(self, job: DesiredJob, *, started: bool) -> None:
        """Wait for the jobs that it needs, as far as the plan changes them. Raises NeedFailed."""
        needs = [names.job_id(self._stack, need) for need in ROWS[job.component].needs]
        errors = {need: self._end_of(need) for need in needs if need in self.gates}
        failed = [getattr(error, "roots", (need,)) for need, error in errors.items() if error]
        roots = tuple(dict.fromkeys(chain(*failed)))
        if roots:
            state = "is healthy, but not confirmed" if started else "was not started"
            words = f"{job.job_id} {state}: it needs {', '.join(roots)}"
            raise NeedFailed(words, hint="correct what failed, and deploy again", roots=roots)

    def _end_of(self, name: str) -> BaseException | None:
        """Wait for the end of a change, and return its error if it has one. Raises when the work is cancelled, because
        the other change may never begin then."""
        while True:
            self._check()
            with suppress(TimeoutError):
                error = self.gates[name].exception(timeout=_POLL)
                self._check()
                return error

    def _stop(self, job_id: str, index: int) -> None:
        nomad = self._tools.nomad
        if nomad.job(job_id)["JobModifyIndex"] != index:  # Nomad's stop has no check-and-set of its own
            raise Conflict(
                f"{job_id} has changed since the plan was made", hint="run obsctl deploy again: it makes a new plan"
            )
        nomad.stop_job(job_id)

        def ended() -> bool:
            self._check()
            return not any(map(is_alive, nomad.job_allocations(job_id)))

        wait_until(
            ended,
            timeout=self._tools.timeout,
            failure=f"the allocations of {job_id} did not end",
            hint=f"nomad job status {job_id} shows what still runs",
            clock=self._tools.clock,
            tolerate=HICCUPS,
        )

    def _check(self) -> None:
        self._check_lock()
        if self.cancelled.is_set():
            raise Interrupted("interrupted", hint="run obsctl deploy to continue")
