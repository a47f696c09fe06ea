"""The policies that terraform/acl reads: those of `obsctl policies`, with the stack and the namespace left open."""

from __future__ import annotations

from obsctl import rights

FOLDER = "terraform/acl/policies"


def files() -> dict[str, str]:
    """Path -> text, for Terraform's templatefile. ROLE.nomad-volumes is there where dynamic volumes matter."""
    found: dict[str, str] = {}
    for role in rights.ROLES:
        plain, volumes = (rights.policies(role, "${stack}", "${namespace}", volumes=made) for made in (False, True))
        texts = {"nomad": plain.nomad, "consul": plain.consul}
        if volumes.nomad != plain.nomad:
            texts["nomad-volumes"] = volumes.nomad
        found |= {f"{FOLDER}/{role}.{server}.hcl.tftpl": text for server, text in texts.items() if text}
    return found
