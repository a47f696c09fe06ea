"""Putting things back, and seeing that they are: at the end of a drill, and after one that died."""

from __future__ import annotations

import json
import shlex
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from obsctl.config.api_servers import ConsulServer
from obsctl.drills import faults, kept, recipes
from obsctl.drills.recipes import Entry, Recipe
from obsctl.drills.run.arming import disarm
from obsctl.drills.run.guard import insist
from obsctl.drills.tell.journal import Journal, Recorder
from obsctl.drills.world import Cluster, World
from obsctl.errors import ApiError, DeadlineExceeded, ObsctlError
from obsctl.model import one_line
from obsctl.stack.why import why
from obsctl.wait import wait_until

TIMEOUT = 180.0
"""Seconds for the revert to be accepted, and again for the service to be back."""


def put_back(world: World, recorder: Recorder, recipe: Recipe) -> float | None:
    """Revert and verify. No signal, full disk or closed terminal stops this.

    Returns when the service was back (Unix seconds); None when it is not, or when somebody else took over.
    """
    fault, clock = faults.named(recipe.fault), world.clock
    requested = clock.now()
    recorder.note("reverting")
    recorder.say("reverting", "start", f"putting {recipe.service} back")
    try:
        refused = "the revert was not accepted"
        reverted = insist(lambda: fault.revert(world, recipe), failure=refused, timeout=TIMEOUT, clock=clock)
        if reverted.state != "superseded":
            absent = f"{recipe.service} did not come back"
            insist(lambda: fault.is_gone(world, recipe), failure=absent, timeout=TIMEOUT, clock=clock)
    except ObsctlError as error:
        reason = f"{error.message}{_cause(world, recipe)}"
        recorder.note("revert_failed", reason=reason, commands=[*fault.by_hand(recipe), "obsctl drill recover"])
        recorder.say("reverted", "failed", f"{reason}; the warden keeps trying")
        return None
    back = clock.now()
    recorder.note("reverted", state=reverted.state, detail=reverted.detail, requested_at=requested, back_at=back)
    disarm(world, recorder, recipe)
    if reverted.state == "superseded":
        recorder.say("reverted", "note", reverted.detail)
        return None
    recorder.say("reverted", "ok", f"{reverted.detail}; healthy after {back - requested:.1f} s")
    return back


def _cause(cluster: Cluster, recipe: Recipe) -> str:
    """Why its job does not come up, as the end of a sentence; "" when that cannot be told."""
    try:
        cause = why(cluster.nomad, cluster.consul, cluster.nomad.job(recipe.job))
    except ApiError:
        return ""
    return f": {cause.sentence}" if cause else ""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What happened to one unfinished drill. state: "reverted", "already" or "superseded"; by: who did it."""

    drill: str
    service: str
    state: str
    detail: str
    by: str

    def __str__(self) -> str:
        how = "was left as it is" if self.state == "superseded" else "is back"
        return f"{self.drill}: {self.service} {how} ({self.detail}; by {self.by})"


def recover(cluster: Cluster, entry: Entry, recipe: Recipe) -> Recovered:
    """Revert if the warden has not, see that the service is back, and remove the recipe.

    Raises ObsctlError when it cannot be put back; the recipe then stays.
    """
    fault = faults.named(recipe.fault)
    reverted = fault.revert(cluster, recipe)
    if reverted.state != "superseded":
        try:
            wait_until(
                lambda: fault.is_gone(cluster, recipe),
                timeout=TIMEOUT,
                failure=f"{recipe.service} did not come back",
                hint=f"by hand: {'; '.join(fault.by_hand(recipe))}; then obsctl drill recover again",
                clock=cluster.clock,
            )
        except DeadlineExceeded as error:
            raise ObsctlError(f"{error.message}{_cause(cluster, recipe)}", hint=error.hint) from error
    kept.forget(cluster, recipe)
    recipes.remove(cluster, recipe.drill)
    outcome = entry.outcome or {}
    if outcome.get("state") == "reverted":
        return Recovered(recipe.drill, recipe.service, "reverted", str(outcome["detail"]), by="the warden")
    return Recovered(recipe.drill, recipe.service, reverted.state, reverted.detail, by="obsctl drill recover")


def finish_journal(folder: Path, done: Recovered) -> None:
    """Write the end of the drill into its journal, if that is on this machine."""
    path = folder / f"{done.drill}.jsonl"
    if not path.exists():
        return
    with closing(Journal.resume(path)) as journal:
        journal.append("recovered", **asdict(done))


@dataclass(frozen=True, slots=True)
class Left:
    """A key on which nobody here acts. is_drill: it is signed, so a drill is not finished.

    remove: what a person types to delete it; obsctl deletes only what it understands.
    """

    key: str
    trouble: str
    is_drill: bool
    remove: str

    def __str__(self) -> str:
        return f"left: Consul's key {one_line(self.key)}: {self.trouble}\n  to remove it: {self.remove}"

    def failures(self) -> list[ObsctlError]:
        what = f"a drill is not finished: {one_line(self.key)}: {self.trouble}"
        return [ObsctlError(what, hint=f"see that its service runs, then: {self.remove}")] * self.is_drill


def left(entry: Entry, consul: ConsulServer) -> Left:
    key = entry.pair.key
    return Left(key, entry.trouble, entry.is_genuine, _removal(key, consul))


def _removal(key: str, consul: ConsulServer) -> str:
    """The program consul puts a key into a path as it is, which dots and slashes would lead elsewhere, and Consul takes
    none with line breaks or the like."""
    if key.isprintable() and all(part not in ("", ".", "..") for part in key.split("/")):
        return shlex.join(["consul", "kv", "delete", key])
    deletion = json.dumps([{"KV": {"Verb": "delete", "Key": key}}])
    curl = 'curl -H "X-Consul-Token: $CONSUL_HTTP_TOKEN"'  # without a token it leaves out the header
    files = {"--cacert": consul.tls.ca_file, "--cert": consul.tls.cert_file, "--key": consul.tls.key_file}
    tls = [word for option, file in files.items() if file for word in (option, file)]
    return f"{curl} {shlex.join([*tls, '-X', 'PUT', '-d', deletion, f'{consul.address}/v1/txn'])}"
