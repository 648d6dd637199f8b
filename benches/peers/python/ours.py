"""This project's package for Python under the name of the fork, so that both are measured with the same program."""

import aiobayeux.compat

aiobayeux.compat.install("aiocometd_noloop")

import racer  # noqa: E402, F401 (it runs when it is imported)
