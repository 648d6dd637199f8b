"""The package and asyncio: cancellation, ends of loops and processes, threads, forks, other loops."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

from aiobayeux import Client
from aiobayeux.testing import Peer, Server
from conftest import PATIENCE, until


def run_program(text: str, *, expect: int = 0, interrupt_after: str | None = None) -> tuple[str, str]:
    """Runs a program in a process of its own, and returns what it wrote."""
    program = "import asyncio, os, sys\nfrom aiobayeux import Client\nfrom aiobayeux.testing import Server\n"
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", program + textwrap.dedent(text)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    before = ""
    try:
        if interrupt_after is not None:
            assert process.stdout is not None
            for line in process.stdout:
                before += line
                if interrupt_after in line:
                    break
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == expect, (process.returncode, before + out, err)
    return before + out, err


def test_asyncio_run_ends_with_pending_work() -> None:
    out, err = run_program(
        """
        async def main():
            global server, client
            server = Server()
            client = Client(server.url)
            await client.open()
            await client.subscribe("/a")
            asyncio.ensure_future(client.receive())
            async def hammer():
                while True:
                    await client.publish("/b", 1)
            for _ in range(10):
                asyncio.ensure_future(hammer())
            await asyncio.sleep(0.1)
            print("ends")

        asyncio.run(main())
        print("ended")
        """
    )
    assert out.split() == ["ends", "ended"]
    assert "Traceback" not in err and "never" not in err


def test_a_client_that_is_never_closed() -> None:
    out, err = run_program(
        """
        async def main():
            client = Client(server.url)
            await client.open()
            del client
            import gc; gc.collect()
            print("ends")

        server = Server()
        asyncio.run(main())
        """
    )
    assert out.split() == ["ends"]
    assert err.count("ResourceWarning: unclosed client") == 1, err


def test_an_interrupt_ends_a_program_cleanly() -> None:
    out, err = run_program(
        """
        async def main():
            server = Server()
            async with Client(server.url) as client:
                await client.subscribe("/a")
                print("waiting", flush=True)
                try:
                    await client.receive()
                except asyncio.CancelledError:
                    print("cancelled", client.closed)
                    raise

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        """,
        interrupt_after="waiting",
    )
    expected = ["waiting", "cancelled", "False", "interrupted"]
    assert out.split() == expected if sys.version_info >= (3, 11) else out.split()[-1] == "interrupted"
    assert "Traceback" not in err


def test_a_cancelled_call_is_given_up(cometd_peer: Peer) -> None:
    from aiobayeux.testing import Answer

    cometd_peer.script = lambda request: Answer.silence() if request.name == "/a" else request.decently()

    async def main() -> None:
        async with Client(cometd_peer.url, close_timeout=1) as client:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.publish("/a", 1), 0.05)
            await client.publish("/b", 1)
            assert not client._port._calls  # type: ignore[union-attr]

    asyncio.run(main())


def test_a_cancelled_open_closes(cometd_peer: Peer) -> None:
    from aiobayeux.testing import Answer

    cometd_peer.script = lambda request: Answer.silence()

    async def main() -> None:
        client = Client(cometd_peer.url)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.open(), 0.05)
        await until(lambda: client.closed)
        cometd_peer.script = None
        async with client:
            await client.publish("/a", 1)

    asyncio.run(main())


def test_loops_in_threads(cometd_server: Server) -> None:
    total = 500
    failures: list[BaseException] = []
    received: dict[int, list[int]] = {}
    ready = threading.Barrier(5)

    def run(number: int) -> None:
        async def main() -> None:
            async with Client(cometd_server.url) as client:
                await client.subscribe("/a")
                ready.wait(PATIENCE)
                received[number] = [(await client.receive())["data"] for _ in range(total)]

        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    ready.wait(PATIENCE)
    for number in range(total):
        cometd_server.publish("/a", number)
    for thread in threads:
        thread.join(PATIENCE)
    assert not failures
    assert received == {number: list(range(total)) for number in range(4)}


def test_many_loops_one_after_the_other_leave_nothing(cometd_server: Server) -> None:
    from aiobayeux._loop import LoopPort

    async def main() -> None:
        async with Client(cometd_server.url) as client:
            await client.publish("/a", 1)

    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    asyncio.run(main())
    gc.collect()
    before = descriptors()
    for _ in range(30):
        asyncio.run(main())
    gc.collect()
    deadline = time.monotonic() + PATIENCE
    while descriptors() > before + 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert descriptors() <= before + 4
    assert len(LoopPort._ports) <= 1


def test_one_runtime_and_no_thread_per_client() -> None:
    out, _ = run_program(
        """
        async def main():
            server = Server()
            clients = [Client(server.url) for _ in range(50)]
            threads = lambda: len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
            await clients[0].open()
            one = threads()
            await asyncio.gather(*(client.open() for client in clients[1:]))
            print(threads() - one)
            await asyncio.gather(*(client.close() for client in clients))

        asyncio.run(main())
        """
    )
    assert int(out) <= 1


async def test_a_client_that_is_dropped_is_collected(cometd_server: Server) -> None:
    client = Client(cometd_server.url)
    await client.open()
    await client.subscribe("/a")
    await client.close()
    dropped = weakref.ref(client)
    del client
    gc.collect()
    assert dropped() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_after_a_fork() -> None:
    out, err = run_program(
        """
        server = Server()

        async def open_one():
            client = Client(server.url)
            await client.open()
            return client

        loop = asyncio.new_event_loop()
        client = loop.run_until_complete(open_one())
        url = server.url
        pid = os.fork()
        if pid == 0:
            async def child():
                try:
                    await client.publish("/a", 1)
                except RuntimeError as error:
                    print("error:", error)
                async with Client(url) as another:
                    print("child:", (await another.publish("/a", 1))["successful"])
            try:
                loop.run_until_complete(asyncio.wait_for(client.publish("/a", 1), 20))
            except RuntimeError as error:
                print("error:", error)
            asyncio.run(child())
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        print("status:", status)
        print("parent:", loop.run_until_complete(client.publish("/a", 1))["successful"])
        loop.run_until_complete(client.close())
        loop.close()
        """
    )
    assert "child: True" in out and "status: 0" in out and "parent: True" in out, (out, err)
    assert "belongs to process" in out and "make a new client in the child" in out


def test_uvloop(cometd_server: Server) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> list[Any]:
        async with Client(cometd_server.url) as client:
            await client.subscribe("/a")
            for number in range(1000):
                cometd_server.publish("/a", number)
            received = [(await client.receive())["data"] for _ in range(1000)]
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.receive(), 0.01)
            return received

    for _ in range(3):
        loop = uvloop.new_event_loop()
        try:
            assert loop.run_until_complete(main()) == list(range(1000))
        finally:
            loop.close()


def test_a_loop_that_watches_no_sockets(cometd_server: Server) -> None:
    class Loop(asyncio.SelectorEventLoop):
        def add_reader(self, *arguments: Any) -> None:
            raise NotImplementedError

    async def main() -> list[Any]:
        async with Client(cometd_server.url) as client:
            await client.subscribe("/a")
            for number in range(1000):
                cometd_server.publish("/a", number)
            return [(await client.receive())["data"] for _ in range(1000)]

    loop = Loop()
    # The loop's own socket for calls from other threads.
    loop._add_reader(loop._ssock.fileno(), loop._read_from_self)  # type: ignore[attr-defined]
    try:
        assert loop.run_until_complete(main()) == list(range(1000))
    finally:
        loop.close()


async def test_the_interpreter_is_free_while_a_client_waits(cometd_server: Server) -> None:
    count = 0
    stop = threading.Event()

    def work() -> None:
        nonlocal count
        while not stop.is_set():
            count += 1

    thread = threading.Thread(target=work)
    async with Client(cometd_server.url) as client:
        await client.subscribe("/a")
        thread.start()
        waiting = asyncio.ensure_future(client.receive())
        await until(lambda: count > 1000)
        cometd_server.publish("/a", 1)
        assert (await waiting)["data"] == 1
        stop.set()
        thread.join()


def test_importing_starts_nothing() -> None:
    out, _ = run_program(
        """
        import threading
        Client("http://localhost/cometd")
        print(threading.active_count(), len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1)
        print("pytest" in sys.modules, "aiohttp" in sys.modules)
        """
    )
    assert out.split() == ["1", "1", "False", "False"]


def test_the_package_is_typed() -> None:
    import aiobayeux

    assert (Path(aiobayeux.__file__).parent / "py.typed").exists()
