"""Are the cluster's Nomad and Consul new enough for what obsctl.yaml asks of them?"""

from __future__ import annotations

from collections.abc import Sequence

from obsctl.clients.protocols import ConsulApi, NomadApi
from obsctl.config.schema import Config
from obsctl.config.versions import Version, findings, parse
from obsctl.errors import Forbidden, ObsctlError, Unreachable
from obsctl.model import Finding, Severity


def read(nomad: NomadApi, consul: ConsulApi) -> dict[str, Version]:
    """Server ("nomad", "consul") -> version, of those that tell it: a token need not have the right to know, and a
    server that is not there is named by whoever needs it first."""
    found = {}
    for name, api in (("nomad", nomad), ("consul", consul)):
        try:
            found[name] = parse(api.agent_version())
        except (Forbidden, Unreachable):
            continue
    return found


def require(config: Config, nomad: NomadApi, consul: ConsulApi) -> Sequence[Finding]:
    """What is to be known of their versions. Raises ObsctlError, which names all that they cannot do."""
    found = findings(config, read(nomad, consul))
    errors = [finding for finding in found if finding.severity is Severity.ERROR]
    if errors:
        lines = [f"{finding.where}: {finding.what}" for finding in errors]
        raise ObsctlError(
            "\n  ".join(["the cluster cannot do what obsctl.yaml asks for; nothing was changed", *lines]),
            hint="; ".join(dict.fromkeys(finding.hint for finding in errors)),
        )
    return [finding for finding in found if finding.severity is Severity.WARNING]
