"""Interpreters and virtual environments for programs that other packages run. All versions are pinned."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import aiobayeux

#: Where environments are made: they stay, so that the next run needs no network.
PLACE = Path(os.environ.get("AIOBAYEUX_ENVIRONMENTS") or Path(__file__).parents[2] / "target" / "environments")
#: Whether what is missing fails the tests instead of skipping them.
NEED_ALL = os.environ.get("AIOBAYEUX_TESTS_NEED") == "all"


def missing(what: str) -> None:
    """Skips the test, and says what is missing."""
    if NEED_ALL:
        pytest.fail(f"missing: {what} (AIOBAYEUX_TESTS_NEED=all)")
    pytest.skip(f"missing: {what}")


@functools.cache
def find_interpreter(version: str) -> Path | None:
    """The newest CPython of this line, such as ``3.9``."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = sorted(root.glob(f"{version}.*/bin/python"), key=lambda path: int(path.parts[-3].split(".")[-1]))
    if found:
        return found[-1]
    other = shutil.which(f"python{version}")
    return Path(other) if other else None


def interpreter(*versions: str) -> Path:
    """The first CPython that is there; the test is skipped if there is none."""
    for version in versions:
        found = find_interpreter(version)
        if found is not None:
            return found
    missing(f"CPython {' or '.join(versions)}; `pyenv install {versions[0]}` brings one")
    raise AssertionError


def environment(name: str, python: Path, *requirements: str) -> Path:
    """The interpreter of a virtual environment with these packages; the test is skipped if they cannot be installed."""
    folder = PLACE / name
    PLACE.mkdir(parents=True, exist_ok=True)
    wanted = "\n".join([str(python), *requirements])
    with open(PLACE / f"{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "installed.txt"
        if not (done.exists() and done.read_text(encoding="utf-8") == wanted):
            shutil.rmtree(folder, ignore_errors=True)
            _run(name, [str(python), "-m", "venv", str(folder)])
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--no-deps", "-q"]
            _run(name, [*pip, "--disable-pip-version-check", "--retries", "1", *requirements])
            done.write_text(wanted, encoding="utf-8")
    return folder / "bin" / "python"


def _run(name: str, command: list[str]) -> None:
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        missing(f"the packages of {name}: pip was not done after 600 s")
        raise AssertionError from None
    if run.returncode != 0:
        last = (run.stderr.strip().splitlines() or ["no output"])[-1]
        missing(f"the packages of {name}: {' '.join(command[-3:])} failed (no network?): {last}")


def package_path(folder: Path) -> str:
    """A folder with the package that is tested, and nothing else, for ``PYTHONPATH``."""
    link = folder / "aiobayeux"
    if not link.exists():
        link.symlink_to(Path(aiobayeux.__file__).parent, target_is_directory=True)
    return str(folder)
