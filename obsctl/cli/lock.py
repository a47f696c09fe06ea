"""obsctl lock: writes down the digest of each image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from obsctl.cli.app import App
from obsctl.errors import ObsctlError

if TYPE_CHECKING:
    from obsctl.stack.render import Rendered

HEADERS = ("IMAGE", "DIGEST", "")


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when the file is out of date.")
@click.option("--keep", is_flag=True, help="Keep the digests of images that only another --env has.")
@click.pass_obj
def lock(app: App, check: bool, keep: bool) -> int:
    """Ask the registries for the digest of each image, and write them into obsctl.lock.yaml.

    From then on jobs name images by these digests, on every node and in every deploy, until the next `obsctl lock`.
    Needs no cluster. With driver exec or raw_exec there are no images.

    Example: obsctl lock --check
    """
    from obsctl.cli import wire
    from obsctl.stack.images import read_lock, resolve, write_lock
    from obsctl.stack.render import render

    config, root = app.loaded.config, app.loaded.root
    rendered: Rendered = render(config, root)
    before = read_lock(root) or {}
    digests, failed = resolve(rendered.images, config.images.registry, wire.registries(config), app.ui.event)
    if not check and digests:
        unchanged = {image: digest for image, digest in before.items() if keep or image in failed}
        app.ui.say(f"written: {write_lock(root, {**unchanged, **digests})}")
    states = {
        image: "new" if image not in before else "as before" if before[image] == digest else "changed"
        for image, digest in digests.items()
    }
    rows = [[image, digest, states[image]] for image, digest in digests.items()]
    text = app.ui.table(HEADERS, rows) if rows else "" if failed else "No image to lock."
    app.ui.result("lock", {"images": digests, "states": states}, text)
    outdated = {image: state for image, state in states.items() if check and state != "as before"}
    error = _error(failed, outdated)
    if error is None:
        return 0
    app.ui.error(error)  # not raised: the one JSON document is written
    return error.exit_code


def _error(failed: Mapping[str, ObsctlError], outdated: Mapping[str, str]) -> ObsctlError | None:
    if failed:
        lines = [f"{', '.join(images)}: {error.message}" for error, images in _by_error(failed).items()]
        hints = dict.fromkeys(error.hint for error in failed.values())
        what = "\n  ".join(["not every image has a digest", *lines])
        return ObsctlError(what, hint="; ".join(hints))
    if outdated:
        images = ", ".join(f"{image} ({state})" for image, state in outdated.items())
        return ObsctlError(f"obsctl.lock.yaml is out of date: {images}", hint="obsctl lock updates it")
    return None


def _by_error(failed: Mapping[str, ObsctlError]) -> dict[ObsctlError, list[str]]:
    """All images of an unreachable registry fail with the same error."""
    images: dict[ObsctlError, list[str]] = {}
    for image, error in failed.items():
        images.setdefault(error, []).append(image)
    return images
