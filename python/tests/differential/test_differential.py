"""The same programs under aiocometd, under a fork of it and under this package: they print the same.

What differs on purpose is in `differences.py`, and in docs/differences.md.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from aiobayeux.testing import Peer
from differential.differences import DIFFERENCES
from differential.environments import environment, find_interpreter, interpreter, missing, package_path
from differential.programs import PROGRAMS
from differential.scripts import SCRIPTS

HERE = Path(__file__).parent
LINES = ["3.10", "3.11", "3.12", "3.13", "3.14"]
#: aiocometd and an aiohttp of its time.
AIOCOMETD = [
    "aiocometd==0.4.5",
    "aiohttp==3.7.4.post0",
    "async-timeout==3.0.1",
    "attrs==23.2.0",
    "chardet==4.0.0",
    "idna==3.7",
    "multidict==6.0.5",
    "typing_extensions==4.11.0",
    "yarl==1.9.4",
]
#: A fork that runs on the Python of today.
FORK = [
    "aiocometd-noloop==0.4.9",
    "aiohappyeyeballs==2.7.1",
    "aiohttp==3.14.5",
    "aiosignal==1.4.0",
    "attrs==26.1.0",
    "frozenlist==1.8.0",
    "idna==3.20",
    "multidict==7.2.1",
    "propcache==0.5.4",
    "typing_extensions==4.16.0",
    "yarl==1.25.1",
]
Outputs = dict[str, list[str]]


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The URL of `bayeux serve`."""
    command = [sys.executable, "-m", "aiobayeux", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        words = server.stdout.readline().split()
        url = next(word for word in words if word.startswith("http"))
        # aiohttp keeps no cookies of hosts that are numbers.
        yield url.replace("127.0.0.1", "localhost")
        server.terminate()


def run(python: Path, package: str, served: str, path: str | None = None) -> Outputs:
    """What the programs print."""
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    if path is not None:
        variables["PYTHONPATH"] = path
    with ExitStack() as stack:
        urls = {}
        for name in PROGRAMS:
            if name in SCRIPTS:
                peer = stack.enter_context(Peer())
                peer.script = SCRIPTS[name](peer)
                urls[name] = peer.url.replace("127.0.0.1", "localhost")
            else:
                urls[name] = served
        done = subprocess.run(
            [str(python), str(HERE / "programs.py")],
            input=json.dumps({"package": package, "urls": urls}),
            capture_output=True,
            text=True,
            env=variables,
            timeout=600,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    outputs: Outputs = json.loads(done.stdout)
    return outputs


@pytest.fixture(scope="module")
def reference(served: str) -> Outputs:
    """What they print under aiocometd."""
    python = environment("aiocometd", interpreter("3.9", "3.8"), *AIOCOMETD)
    return run(python, "aiocometd", served)


@pytest.fixture(scope="module")
def fork(served: str) -> Outputs:
    """What they print under the fork."""
    python = environment("aiocometd-noloop", interpreter("3.11", "3.12", "3.13", "3.10"), *FORK)
    return run(python, "aiocometd_noloop", served)


@pytest.fixture(scope="module")
def ours(served: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Outputs]:
    """What they print under this package, with a line of CPython."""

    @functools.cache
    def with_line(line: str) -> Outputs:
        if line == "{}.{}".format(*sys.version_info):
            python: Path | None = Path(sys.executable)
        else:
            python = find_interpreter(line)
        if python is None:
            missing(f"CPython {line}; `pyenv install {line}` brings it")
        assert python is not None
        return run(python, "aiobayeux", served, package_path(tmp_path_factory.mktemp("path")))

    return with_line


@pytest.mark.timeout(900)
@pytest.mark.parametrize("line", LINES)
def test_the_same_as_aiocometd(line: str, ours: Callable[[str], Outputs], reference: Outputs) -> None:
    compare(reference, ours(line), "aiocometd")


@pytest.mark.timeout(900)
def test_the_same_as_the_fork(ours: Callable[[str], Outputs], fork: Outputs) -> None:
    compare(fork, ours("{}.{}".format(*sys.version_info)), "fork")


def compare(theirs: Outputs, ours: Outputs, name: str) -> None:
    """Both outputs are equal line by line, except those of DIFFERENCES, which are exactly as it says."""
    assert set(theirs) == set(ours) == set(PROGRAMS)
    wrong = []
    for program in PROGRAMS:
        expected = list(theirs[program])
        for difference in DIFFERENCES.get(program, ()):
            if name not in difference.of:
                continue
            if difference.theirs not in expected:
                wrong.append(f"{program}: {name} does not print {difference.theirs!r} any more:\n{expected}")
                continue
            at = expected.index(difference.theirs)
            expected[at : at + 1] = difference.ours
        if expected != ours[program]:
            wrong.append(f"{program}:\n" + "\n".join(_diff(expected, ours[program])))
    assert not wrong, "\n\n".join(wrong)


def _diff(expected: list[str], found: list[str]) -> Iterator[str]:
    import difflib

    return difflib.unified_diff(expected, found, "theirs", "ours", lineterm="", n=1)
