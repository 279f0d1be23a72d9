"""Two ways to start a worker: a fork of the nursery, or a fresh interpreter."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from registry.errors import StoreError
from rlsuite.backends.nursery import MESSAGE_BYTES
from rlsuite.backends.worker import read_frame, write_frame

__all__ = ["Child", "Events", "ForkStarter", "SpawnStarter", "Starter", "memory_of", "start_method"]

Events = queue.SimpleQueue["tuple[Child, str]"]
"""What wakes the supervisor: a child, and what happened to it."""

LAST_WORDS_SECONDS = 2.0
"""How long the pipe of an ended worker is read: whoever holds it open after that is not heard."""


class Child:
    """One worker process, as the supervisor sees it."""

    def __init__(self, events: Events, payload: str) -> None:
        self.events = events
        self.pid: int | None = None
        self.started: float | None = None
        self.ended: float | None = None
        self.status: int | None = None  # exit code, or minus a signal; None while unknown
        self.progress: list[tuple[int, int]] = []
        self.result: bytes | None = None
        self.reported_memory = 0
        down_read, self._down = os.pipe()
        self._up, up_write = os.pipe()
        self.remote = (down_read, up_write)
        self._payload = payload.encode()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._writer = threading.Thread(target=self._write, daemon=True)

    def handed_over(self) -> None:
        """The process has its own copies of the pipes' other ends: ours are closed."""
        for descriptor in self.remote:
            os.close(descriptor)
        self._reader.start()
        self._writer.start()

    def begun(self, pid: int) -> None:
        """The process runs."""
        self.pid, self.started = pid, time.monotonic()
        self.events.put((self, "begun"))

    def over(self, status: int | None) -> None:
        """The process has ended; None where nobody knows how."""
        if self.ended is None:
            self._reader.join(LAST_WORDS_SECONDS)
            self.status, self.ended = status, time.monotonic()
            self.events.put((self, "ended"))

    def close(self) -> None:
        """Closes the pipes; a worker that still lives ends itself then."""
        for descriptor in (self._down, self._up):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # it died before it could read
            write_frame(self._down, b"J", self._payload)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while (frame := read_frame(self._up)) is not None:
                kind, content = frame
                if kind == b"R":
                    self.result = content
                elif kind == b"P":
                    steps, budget = json.loads(content)
                    self.progress.append((steps, budget))
                    self.events.put((self, "progress"))
                elif kind == b"M":
                    self.reported_memory = int(content)


class Starter(Protocol):
    """Starts workers."""

    def start(self, payload: str, output: Path | None) -> Child:
        """A worker for one cell; its output goes to a file, or nowhere."""
        ...

    def signal(self, child: Child, number: int) -> None:
        """Sends a signal to a worker and all of its group, if it has not ended."""
        ...

    def close(self) -> None:
        """Ends what started the workers."""
        ...


class SpawnStarter:
    """A fresh interpreter for every cell; works everywhere, and imports everything anew."""

    CODE = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
        "from rlsuite.backends.worker import main; main()"
    )

    REHEARSAL = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
        "from rlsuite.backends.worker import rehearse_all; rehearse_all(json.load(sys.stdin))"
    )

    def __init__(self, events: Events, modules: Sequence[str], rehearsals: Sequence[str]) -> None:
        self._events = events
        self._rehearsals = list(rehearsals)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, payload: str, output: Path | None) -> Child:
        """Starts an interpreter; before the first one, another fills numba's cache."""
        if self._rehearsals:
            subprocess.run(
                [sys.executable, "-c", self.REHEARSAL, json.dumps(sys.path)],
                input=json.dumps(self._rehearsals).encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,  # the cells will say what is wrong
            )
            self._rehearsals.clear()
        child = Child(self._events, payload)
        with _opened(output) as stream:
            process = subprocess.Popen(
                [sys.executable, "-c", self.CODE, json.dumps(sys.path)],
                stdin=child.remote[0],
                stdout=child.remote[1],
                stderr=stream,
                start_new_session=True,
            )
        child.handed_over()
        self._processes[process.pid] = process
        child.begun(process.pid)
        threading.Thread(target=self._watch, args=(child, process), daemon=True).start()
        return child

    def signal(self, child: Child, number: int) -> None:
        """To the group where there are groups, else to the process."""
        process = self._processes.get(child.pid or 0)
        if process is None or process.poll() is not None:
            return
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
        else:
            process.terminate()

    def close(self) -> None:
        """Nothing is left to end."""

    def _watch(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        if hasattr(os, "waitid"):  # what it left in its group ends while the number is its own
            with contextlib.suppress(OSError):
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
                os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
        child.over(status)


class ForkStarter:
    """Forks of one nursery, which is started with the first worker, and anew if it dies."""

    CODE = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
        "from rlsuite.backends.nursery import main; main(int(sys.argv[2]))"
    )

    def __init__(self, events: Events, modules: Sequence[str], rehearsals: Sequence[str]) -> None:
        self._events = events
        self._modules, self._rehearsals = list(modules), list(rehearsals)
        self._nursery: _Nursery | None = None
        self._next = 0

    def start(self, payload: str, output: Path | None) -> Child:
        """Forks a worker; it begins as soon as the nursery has imported everything."""
        if self._nursery is not None and not self._nursery.alive:
            self.close()
        if self._nursery is None:
            self._nursery = _Nursery(self.CODE, self._modules, self._rehearsals)
        child = Child(self._events, payload)
        self._next += 1
        with _opened(output) as stream:
            self._nursery.fork(self._next, child, stream.fileno())
        child.handed_over()
        return child

    def signal(self, child: Child, number: int) -> None:
        """By way of the nursery, which knows whether the process is still there."""
        if self._nursery is not None and child.pid is not None and child.ended is None:
            self._nursery.send({"op": "signal", "pid": child.pid, "signal": int(number)})

    def close(self) -> None:
        """Ends the nursery, and waits for it."""
        if self._nursery is not None:
            self._nursery.close()
            self._nursery = None


class _Nursery:
    """The supervisor's end of a nursery."""

    def __init__(self, code: str, modules: list[str], rehearsals: list[str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, json.dumps(sys.path), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._link = ours
        self.alive = True
        self._waiting: dict[int, Child] = {}
        self._running: dict[int, Child] = {}
        self._lock = threading.Lock()
        self.send({"op": "preload", "modules": modules})
        for payload in rehearsals:
            if len(payload) < MESSAGE_BYTES // 2:  # quotes are doubled; longer ones are left out
                self.send({"op": "rehearse", "payload": payload})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def fork(self, number: int, child: Child, output: int) -> None:
        """Asks for a worker."""
        with self._lock:
            self._waiting[number] = child
        message = json.dumps({"op": "fork", "id": number}).encode()
        with contextlib.suppress(OSError):  # it died just now: the reader says so
            socket.send_fds(self._link, [message], [*child.remote, output])
        if not self.alive:
            self._lose_all()

    def send(self, message: dict[str, Any]) -> None:
        """Sends a message, if anybody is there."""
        with contextlib.suppress(OSError):
            self._link.send(json.dumps(message).encode())

    def close(self) -> None:
        """Closes the link, at which the nursery ends its children and itself."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        self._process.wait()
        self._reader.join()
        self._link.close()

    def _read(self) -> None:
        try:
            while data := self._link.recv(MESSAGE_BYTES):
                self._handle(json.loads(data))
        except OSError:
            pass  # the same as the end
        self.alive = False
        self._lose_all()
        self._process.wait()

    def _handle(self, message: dict[str, Any]) -> None:
        if message["op"] == "forked":
            with self._lock:
                child = self._waiting.pop(message["id"])
                self._running[message["pid"]] = child
            child.begun(message["pid"])
        elif message["op"] == "ended":
            with self._lock:
                child = self._running.pop(message["pid"])
            code = os.waitstatus_to_exitcode(message["status"])
            threading.Thread(target=child.over, args=(code,), daemon=True).start()

    def _lose_all(self) -> None:
        """The nursery is gone: its workers are ended by their pipes, and nobody knows how."""
        with self._lock:
            lost = [*self._waiting.values(), *self._running.values()]
            self._waiting.clear()
            self._running.clear()
        for child in lost:
            if child.pid is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)
            threading.Thread(target=child.over, args=(None,), daemon=True).start()


def start_method() -> Literal["forkserver", "spawn"]:
    """The faster way that this system knows: forks with everything imported, on Linux."""
    linux = sys.platform.startswith("linux")
    return "forkserver" if linux and hasattr(socket, "send_fds") else "spawn"


def starter_of(method: str) -> Callable[[Events, Sequence[str], Sequence[str]], Starter]:
    """The class behind a start method."""
    return ForkStarter if method == "forkserver" else SpawnStarter


def memory_of(pid: int) -> int | None:
    """Resident bytes of a process and all below it, from /proc; None where there is none."""
    total = 0
    pending = [pid]
    while pending:
        process = Path("/proc") / str(pending.pop())
        try:
            total += int((process / "statm").read_text().split()[1]) * _PAGE
            pending += map(int, (process / "task" / process.name / "children").read_text().split())
        except (OSError, IndexError, ValueError):
            continue  # it has just ended, or this system has no such file
    return total or None


_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def _opened(output: Path | None) -> Any:
    if output is None:
        return open(os.devnull, "wb")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        return open(output, "wb")
    except OSError as error:
        raise StoreError(
            f"the output of a cell cannot be kept in {output}: {error.strerror}. Nothing that was "
            "stored before is touched; make room, or name a store in another place."
        ) from error
