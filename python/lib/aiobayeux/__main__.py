"""``python -m aiobayeux`` and the console script ``bayeux``: the command, see ``--help``."""

from __future__ import annotations

import signal
import sys

from aiobayeux import _native


def main() -> None:
    """Runs the command with the arguments of the process, and exits."""
    # Python would only note an interrupt while the command runs.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_native.run_cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
