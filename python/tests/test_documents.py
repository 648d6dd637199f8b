"""The examples run, and so does the code in the documents."""

from __future__ import annotations

import ast
import asyncio
import logging
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import aiobayeux
from aiobayeux import Client
from aiobayeux.testing import Server

#: The folder `python` of the sources; `run-tests` copies it in part.
ROOT = Path(__file__).parents[1]


def start(example: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / example), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert not errors, errors
    return output


@pytest.fixture
def demo() -> Any:
    """The URL of `bayeux serve`."""
    command = [sys.executable, "-m", "aiobayeux", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        yield next(word for word in server.stdout.readline().split() if word.startswith("http"))
        server.terminate()


def test_the_quickstart(demo: str) -> None:
    assert finish(start("quickstart.py", demo)) == "/chat/demo {'user': 'ann', 'chat': 'hi'}\n"


def test_streams(demo: str) -> None:
    assert finish(start("streams.py", demo)) == "[{'price': 12.5}, 'opened']\n{'question': 1}\n"


def test_the_chat(demo: str) -> None:
    def read_until(process: subprocess.Popen[str], wanted: str) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == wanted:
                return
        raise AssertionError(f"{wanted!r} was not printed")

    ann = start("chat.py", demo, "demo", "ann")
    read_until(ann, "ann: ann has joined")
    bob = start("chat.py", demo, "demo", "bob")
    read_until(ann, "bob: bob has joined")
    assert ann.stdin is not None and bob.stdin is not None
    ann.stdin.write("hello\n")
    ann.stdin.flush()
    read_until(bob, "ann: hello")
    bob.stdin.write("bye\n")
    bob.stdin.close()
    read_until(ann, "bob: bye")
    read_until(ann, "bob: bob has left")
    bob.stdin = None
    finish(bob)
    finish(ann)


async def test_watching_a_server_that_is_restarted(cometd_server: Server) -> None:
    loop = asyncio.get_running_loop()
    process = start("watch.py", cometd_server.url, "/a")

    async def read_until(*wanted: str) -> None:
        assert process.stdout is not None
        missing = set(wanted)
        while missing:
            line = await loop.run_in_executor(None, process.stdout.readline)
            assert line, missing
            missing.discard(line.strip())

    async def publish_until_printed(number: int) -> None:
        reading = asyncio.ensure_future(read_until(f"message: {number}"))
        while not reading.done():
            cometd_server.publish("/a", number)
            await asyncio.wait([reading], timeout=0.1)
        await reading

    try:
        await read_until("event: connected")
        await publish_until_printed(1)
        cometd_server.restart()
        await read_until("event: lost", "event: connected")
        await publish_until_printed(2)
    finally:
        process.kill()
        process.communicate()


def pieces(document: str) -> list[Any]:
    path = ROOT / document
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [pytest.param(piece[1], id=f"{document}:{text[: piece.start()].count(chr(10)) + 2}") for piece in found]


@pytest.mark.parametrize("code", pieces("docs/differences.md"))
async def test_code_of_the_differences(code: str, cometd_server: Server) -> None:
    names = {name: getattr(aiobayeux, name) for name in aiobayeux.__all__}
    async with Client(cometd_server.url) as client:
        names.update(asyncio=asyncio, logging=logging, url=cometd_server.url, client=client)
        exec("async def piece():\n" + textwrap.indent(code, "    "), names)
        await names["piece"]()


@pytest.mark.parametrize("code", pieces("README.md"))
def test_code_of_the_readme_is_python(code: str) -> None:
    compile(code, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_there_is_code() -> None:
    assert len(pieces("docs/differences.md")) > 15 and pieces("README.md")


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions of Python write signatures differently")
def test_the_reference_is_up_to_date() -> None:
    program = "import runpy, sys; sys.stdout.write(runpy.run_path(sys.argv[1])['page']())"
    command = [sys.executable, "-c", program, str(ROOT / "docs" / "make_reference.py")]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    written = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert page == written, "python docs/make_reference.py writes it"
