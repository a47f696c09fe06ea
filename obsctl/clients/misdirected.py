"""Calls that ended at another server, or at another port, than the configuration means, told by what answered."""

from __future__ import annotations

import requests

from obsctl.clients.endpoint import Endpoint

FORBIDDEN, NOT_FOUND = 403, 404
_OTHER = {"nomad": "Consul", "consul": "Nomad"}
_NO_CONSUL_PATH = "Invalid URL path: not a recognized HTTP API endpoint"
_WANTS_TLS = ("HTTP request to an HTTPS server", "HTTP request was sent to HTTPS port")
"""In the words of Go's servers, and of nginx."""
_PLACES = {
    "No path to region": ("region", "nomad.region", "nomad server members"),
    "No path to datacenter": ("dc", "consul.datacenter", "consul catalog datacenters"),
}
"""What a server says of a place that it does not know -> the parameter of the call, its key, who lists all."""


def stranger(response: requests.Response, endpoint: Endpoint, path: str) -> str:
    """Who answers, where it is not the server that is meant: "Consul, not Nomad". "" where nothing speaks against it.

    Each answer of Consul's has headers of its own; Nomad has some in answers to what is read.
    """
    name, other = endpoint.name, _OTHER.get(endpoint.key)
    if not other or _is_from(name, response):
        return ""
    if _is_from(other, response) or (other == "Consul" and response.text.strip() == _NO_CONSUL_PATH):
        return f"{other}, not {name}"
    tells = response.status_code in (FORBIDDEN, NOT_FOUND) or (response.ok and path == "/v1/status/leader")
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    return f"not {name}" if tells and (other == "Nomad" or is_page) else ""


def _is_from(server: str, response: requests.Response) -> bool:
    return any(name.lower().startswith(f"x-{server.lower()}-") for name in response.headers)


def way(response: requests.Response, endpoint: Endpoint) -> str:
    """What to do about an answer that says that the address or the place is wrong; "" where it says neither."""
    if any(words in response.text for words in _WANTS_TLS):
        where = f"{endpoint.key}.address in obsctl.yaml" if endpoint.key else "its address"
        return f"the server speaks TLS on this port: write https:// in {where}"
    for words, (parameter, key, command) in _PLACES.items():
        place = endpoint.params.get(parameter)
        if place and words in response.text:
            return (
                f"{key} in obsctl.yaml is {place}: correct it to one that `{command}` lists, or leave it out for that "
                f"of the server at {endpoint.address}; if {place} is right, that server cannot reach it now"
            )
    return ""
