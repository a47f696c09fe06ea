"""The ACLs of Nomad and Consul: the first token, policies, and tokens that have them.

Each call may be made again: it changes what is there to what is asked for.
"""

from __future__ import annotations

from obsctl.clients.form import object_of, objects_of
from obsctl.clients.http import Client
from obsctl.clients.paths import quoted
from obsctl.errors import Conflict, Forbidden, NotFound, Rejected
from obsctl.model import Json


class NomadAcl(Client):
    """The ACLs of a Nomad. Its endpoint has a management token, or the one that `bootstrap` is to make."""

    def bootstrap(self, secret: str) -> None:
        """Make this UUID the first management token. Nothing happens where it is one already.

        Raises Conflict where another one was the first.
        """
        if self.knows_token():
            return
        try:
            self.session.request("POST", "/v1/acl/bootstrap", json={"BootstrapSecret": secret})
        except Rejected as error:
            if "already done" in error.message:
                hint = "use that token; or begin anew, for the local cluster by obsctl dev down --purge"
                raise Conflict(f"{self.endpoint} has another first management token", hint=hint) from None
            raise

    def knows_token(self) -> bool:
        """Whether the token of this client is one of that Nomad."""
        try:
            return "AccessorID" in self.session.request("GET", "/v1/acl/token/self", quote=False).json()
        except (Forbidden, NotFound):  # Nomad answers 404 before the first token is made
            return False

    def put_policy(self, name: str, rules: str, *, description: str = "", job: Json | None = None) -> None:
        """job: whose workload identity has the policy, as Nomad's JobACL: {"Namespace", "JobID", "Group", "Task"}."""
        policy = {"Name": name, "Description": description, "Rules": rules, "JobACL": job}
        self.session.request("POST", f"/v1/acl/policy/{quoted(name)}", json=policy)

    def policy(self, name: str) -> Json | None:
        try:
            return object_of(self.session.request("GET", f"/v1/acl/policy/{quoted(name)}").json())
        except NotFound:
            return None

    def put_token(self, name: str, policies: tuple[str, ...]) -> str:
        """The secret of the client token of this name, which Nomad chooses when it is new."""
        token = {"Name": name, "Type": "client", "Policies": policies}
        listed = objects_of(self.session.request("GET", "/v1/acl/tokens", quote=False).json())
        there = next((each for each in listed if (each["Name"], each["Type"]) == (name, "client")), None)
        own = {"AccessorID": there["AccessorID"]} if there else {}
        path = f"/v1/acl/token{_id(there, 'AccessorID')}"
        return str(self.session.request("POST", path, json=token | own, quote=False).json()["SecretID"])


class ConsulAcl(Client):
    """The ACLs of a Consul. Its endpoint has a management token."""

    def put_policy(self, name: str, rules: str, *, description: str = "") -> None:
        policy = {"Name": name, "Description": description, "Rules": rules}
        there = self._find("policies", "Name", name)
        self.session.request("PUT", f"/v1/acl/policy{_id(there, 'ID')}", json=policy)

    def policy(self, name: str) -> Json | None:
        """With its rules, which a list leaves out."""
        there = self._find("policies", "Name", name)
        return there and object_of(self.session.request("GET", f"/v1/acl/policy{_id(there, 'ID')}").json())

    def role(self, name: str) -> Json | None:
        return self._find("roles", "Name", name)

    def auth_method(self, name: str) -> Json | None:
        there = self._find("auth-methods", "Name", name)
        return there and object_of(self.session.request("GET", f"/v1/acl/auth-method{_id(there, 'Name')}").json())

    def binding_rules(self, method: str) -> list[Json]:
        return objects_of(self.session.request("GET", "/v1/acl/binding-rules", params={"authmethod": method}).json())

    def put_token(self, name: str, secret: str, policies: tuple[str, ...]) -> None:
        """A token with this UUID as its secret. name: its description, by which it is found again."""
        token = {"Description": name, "Policies": [{"Name": policy} for policy in policies]}
        there = self._find("tokens", "Description", name)
        own = {} if there else {"SecretID": secret}  # the secret of a token never changes
        self.session.request("PUT", f"/v1/acl/token{_id(there, 'AccessorID')}", json=token | own, quote=False)

    def put_role(self, name: str, policies: tuple[str, ...], *, description: str = "") -> None:
        role = {"Name": name, "Description": description, "Policies": [{"Name": policy} for policy in policies]}
        there = self._find("roles", "Name", name)
        self.session.request("PUT", f"/v1/acl/role{_id(there, 'ID')}", json=role)

    def put_jwt_method(
        self, name: str, keys: str, audience: list[str], claims: tuple[str, ...], ca: str = "", *, description: str = ""
    ) -> None:
        """A login with tokens that one of the keys at this URL has signed. claims: what binding rules may read.

        ca: the certificate of the URL's authority, if it is none that the machine knows. One that is there keeps what
        else it has: its audiences, claims and limits may be needed by others.
        """
        there = self.auth_method(name) or {}
        config = there.get("Config") or {}
        audiences, mappings = config.get("BoundAudiences") or [], config.get("ClaimMappings") or {}
        needs = {
            "JWKSURL": keys,
            "JWKSCACert": ca,
            "JWTSupportedAlgs": config.get("JWTSupportedAlgs") or ["RS256"],
            "BoundAudiences": [*audiences, *(each for each in audience if each not in audiences)],
            "ClaimMappings": mappings | {claim: claim for claim in claims if claim not in mappings},
        }
        others = {key: value for key, value in there.items() if key not in ("CreateIndex", "ModifyIndex")}
        own = {"Name": name, "Type": "jwt", "Description": description, "Config": {**config, **needs}}
        self.session.request("PUT", f"/v1/acl/auth-method{_id(there or None, 'Name')}", json={**others, **own})

    def put_binding_rule(self, method: str, kind: str, name: str, selector: str, description: str) -> None:
        """Who logs in with claims that fit gets this: kind "role" or "service", and its name.

        description: by which it is found again.
        """
        rule = {"AuthMethod": method, "BindType": kind, "BindName": name, "Selector": selector}
        there = next((each for each in self.binding_rules(method) if each.get("Description") == description), None)
        path = f"/v1/acl/binding-rule{_id(there, 'ID')}"
        self.session.request("PUT", path, json={**rule, "Description": description})

    def use_as_agent_token(self, secret: str) -> None:
        """The agent that is asked calls the servers with this token from now on."""
        self.session.request("PUT", "/v1/agent/token/agent", json={"Token": secret}, quote=False)

    def _find(self, kind: str, key: str, value: str) -> Json | None:
        listed = objects_of(self.session.request("GET", f"/v1/acl/{kind}", quote=False).json())
        return next((object_of(item) for item in listed if item.get(key) == value), None)


def _id(there: Json | None, key: str) -> str:
    return f"/{quoted(there[key])}" if there else ""
