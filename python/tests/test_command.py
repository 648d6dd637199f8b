"""The command `bayeux`."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from aiobayeux.testing import Server

COMMAND = [sys.executable, "-m", "aiobayeux"]


def run(*arguments: str, command: list[str] = COMMAND) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_help_and_version() -> None:
    finished = run("--help")
    assert finished.returncode == 0 and "subscribe" in finished.stdout and "bayeux" in finished.stdout
    assert run("--version").stdout.startswith("bayeux ")
    wrong = run("nonsense")
    assert wrong.returncode == 2 and "nonsense" in wrong.stderr


def test_the_console_script(cometd_server: Server) -> None:
    script = shutil.which("bayeux", path=sysconfig.get_path("scripts"))
    assert script and Path(script).exists()
    finished = run("publish", cometd_server.url, "/a", '{"x":1}', command=[script])
    assert finished.returncode == 0, finished.stderr


def test_subscribe(cometd_server: Server) -> None:
    process = subprocess.Popen(
        [*COMMAND, "subscribe", cometd_server.url, "/a", "--count", "1"], stdout=subprocess.PIPE, text=True
    )
    while not cometd_server.sessions():
        pass
    for _ in range(600):
        cometd_server.publish("/a", {"word": "hello"})
        try:
            out, _ = process.communicate(timeout=0.2)
            break
        except subprocess.TimeoutExpired:
            continue
    assert process.returncode == 0
    assert "hello" in out


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_an_interrupt_ends_it(cometd_server: Server) -> None:
    process = subprocess.Popen([*COMMAND, "subscribe", cometd_server.url, "/a"], stdout=subprocess.PIPE, text=True)
    while not cometd_server.sessions():
        pass
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_errors_have_exit_codes() -> None:
    finished = run("publish", "http://127.0.0.1:1/cometd", "/a", json.dumps(1))
    assert finished.returncode == 1 and "127.0.0.1:1" in finished.stderr
