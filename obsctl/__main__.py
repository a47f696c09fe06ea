"""Where every obsctl command starts, and the one boundary at which errors become words and exit codes."""

from __future__ import annotations


def main() -> None:
    """The console script."""
    from obsctl.cli.root import run

    run()


if __name__ == "__main__":
    main()
