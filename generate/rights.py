"""The table of rights and the policies of each role, for docs/policies.md."""

from __future__ import annotations

from generate.tables import table
from obsctl import rights as source


def rights() -> str:
    """The table of obsctl/rights.py."""
    rows = (
        (
            row.server.capitalize(),
            row.what,
            f"`{row.rule}`",
            ", ".join(role for role in source.ROLES if role in row.roles),
        )
        for row in source.rights("STACK", "NAMESPACE", volumes=True)
    )
    return table(("Server", "To", "takes the rule", "Roles"), rows)


def texts() -> str:
    """The policies of each role, of a stack that is called obs."""
    return "\n".join(map(_role, source.ROLES))


def _role(role: str) -> str:
    texts = source.policies(role, "obs", "default")
    parts = (("Nomad", texts.nomad), ("Consul", texts.consul))
    code = "\n".join(f"# {server}\n{text}" for server, text in parts if text)
    return f"### {role}\n\n```hcl\n{code}```\n"
