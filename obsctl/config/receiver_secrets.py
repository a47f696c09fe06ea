"""The secrets in Alertmanager's receivers: references in obsctl.yaml, and files where Alertmanager reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from obsctl.config.secrets import KeyRef, SecretRef
from obsctl.config.shapes import KeyPath, Misfit

Settings = Mapping[str, object]
FileOf = Callable[[KeyPath, SecretRef], str]

OF_TYPES: dict[str, tuple[str, ...]] = {
    "discord": ("webhook_url",),
    "email": ("auth_password", "auth_secret", "tls_config.key"),
    "incidentio": ("alert_source_token",),
    "jira": (),
    "mattermost": ("webhook_url",),
    "msteams": ("webhook_url",),
    "msteamsv2": ("webhook_url",),
    "opsgenie": ("api_key",),
    "pagerduty": ("routing_key", "service_key"),
    "pushover": ("token", "user_key"),
    "rocketchat": ("token", "token_id"),
    "slack": ("api_url", "app_token"),
    "sns": (),
    "telegram": ("bot_token",),
    "victorops": ("api_key",),
    "webex": (),
    "webhook": ("url",),
    "wechat": ("api_secret",),
}
"""The settings of each type that Alertmanager keeps secret; it reads each from the file that `NAME_file` names."""
OF_HTTP = (
    "authorization.credentials",
    "basic_auth.password",
    "bearer_token",
    "oauth2.client_certificate_key",
    "oauth2.client_secret",
    "oauth2.tls_config.key",
    "tls_config.key",
)
"""The same below `http_config`, for every type that has it."""
_OTHERS_WITH_FILE = {"telegram.chat_id", "incidentio.url"}
_USER_WITH_FILE = "http_config.basic_auth.username"
_KEYS = ("key", "client_certificate_key")
"""Keys in PEM format."""
_WITHOUT_FILE = {
    "proxy_connect_header": "use a proxy that asks for no header",
    "secret_key": "give the nodes of Alertmanager an AWS role, or name a profile",
}
_LIKE_A_SECRET = re.compile(r"(.*_)?(password|secret|token|credentials|key|webhook_url)")
_USER_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]*@", re.IGNORECASE)
_REFERENCE = re.compile(r"env:[A-Z_][A-Z0-9_]*|file:/.+|nomad-var:\S+#\S+")


def misfits(kind: str, settings: Settings) -> Iterator[Misfit]:
    """What cannot stay as it is in an entry of this type ("slack"). No words repeat a value: it may be a secret."""
    for path, value in _values(settings):
        words = _trouble(kind, path, value)
        if words:
            yield Misfit(path, words)


def with_files(kind: str, settings: Settings, file_of: FileOf, above: KeyPath = ()) -> dict[str, object]:
    """The settings as Alertmanager gets them: in the place of each reference stands the file that file_of names."""
    written: dict[str, object] = {}
    for key, value in settings.items():
        path = (*above, key)
        if isinstance(value, dict):
            written[key] = with_files(kind, value, file_of, path)
        elif _is_header(path) and isinstance(value, list | tuple):
            refs = [file_of((*path, number), SecretRef.parse(item)) for number, item in enumerate(value)]
            before = settings.get("files")
            written["files"] = [*(before if isinstance(before, list | tuple) else ()), *refs]
        elif _has_file(kind, path) and (_is_secret(kind, path) or _is_reference(value)):
            written[f"{key}_file"] = file_of(path, (KeyRef if key in _KEYS else SecretRef).parse(value))
        else:
            written.setdefault(key, value)
    return written


def folder(kind: str, path: KeyPath) -> str:
    """How a file of secrets/ is named: Alertmanager looks for those of http_config from the folder of its
    configuration, which is local/, and for all others from the task's folder."""
    from_configuration = (path[0] == "http_config" and kind != "incidentio") or (kind, path) == (
        "slack",
        ("app_token",),
    )
    return "../secrets" if from_configuration else "secrets"


def _trouble(kind: str, path: KeyPath, value: object) -> str:
    if value is None:
        return "is empty"
    for step, instead in _WITHOUT_FILE.items():
        if step in path:
            return f"is a secret, and Alertmanager has no file for it that would keep it from view: {instead}"
    if _is_secret(kind, path) or _is_header(path[:-1]):
        return _of_reference(value)
    if isinstance(value, str) and _USER_IN_URL.match(value):
        return "holds a user, and Alertmanager has no file for it: use an address without one"
    if _is_reference(value) and not _has_file(kind, path):
        return "is no secret of Alertmanager's, so a reference does not belong here: write the value itself"
    return ""


def _of_reference(value: object) -> str:
    try:
        SecretRef.parse(value)
    except ValueError as error:
        return str(error)
    return ""


def _values(value: object, above: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    """Every single value with its path; an empty mapping or list is one, too."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    below = list(steps)
    if above and not below:
        yield above, value
    for step, item in below:
        yield from _values(item, (*above, step))


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))


def _is_secret(kind: str, path: KeyPath) -> bool:
    if path[0] == "http_config":
        return _dotted(path[1:]) in OF_HTTP
    if kind in OF_TYPES:
        return _dotted(path) in OF_TYPES[kind]
    return len(path) == 1 and _LIKE_A_SECRET.fullmatch(str(path[0])) is not None  # a type of a newer Alertmanager


def _has_file(kind: str, path: KeyPath) -> bool:
    others = f"{kind}.{_dotted(path)}" in _OTHERS_WITH_FILE or _dotted(path) == _USER_WITH_FILE
    return others or _is_secret(kind, path)


def _is_header(path: KeyPath) -> bool:
    """`http_config.http_headers.NAME.secrets`: a list, whose files are a list, too."""
    return len(path) >= 4 and path[-4:-2] == ("http_config", "http_headers") and path[-1] == "secrets"


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None
