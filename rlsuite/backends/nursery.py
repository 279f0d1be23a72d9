"""A small process that has imported everything, and forks a fresh worker for each cell.

A fork takes milliseconds where the imports of torch and Stable-Baselines3 take seconds. The nursery
imports, compiles what numba is to compile, and runs no cell, so that every worker begins alike. It
is alone with its children in a session of its own, and ends with the supervisor, and they with it.

Messages are JSON over a socket that keeps their bounds. To the nursery: `preload` (modules),
`rehearse` (payload), `fork` (id; with the pipe down, the pipe up and the file for the output),
`signal` (pid, signal). Back: `ready`, `forked` (id, pid), `ended` (pid, status).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from types import FrameType
from typing import Any, NoReturn

from rlsuite.backends.worker import ORPHAN_SECONDS, leave, rehearse_all, work

__all__ = ["main"]

MESSAGE_BYTES = 1 << 16
TICK_SECONDS = 0.2

IMPORTED_LATE = {
    "rlsuite": ("scipy.sparse.linalg", "scipy.stats"),
    "torch": ("torch._dynamo",),
}
"""What libraries import only when they are used, which costs every worker up to two seconds: exact
solvers and intervals need SciPy, and the first optimiser of torch its compiler."""


def main(descriptor: int) -> None:
    """Serves until the supervisor closes its end of the socket."""
    link = socket.socket(fileno=descriptor)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGCHLD, _wake)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    children: set[int] = set()
    while True:
        ready, _, _ = select.select([link.fileno(), wake_read], [], [])
        if wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 4096)
            for pid, status in _ended(children):
                _send(link, {"op": "ended", "pid": pid, "status": status})
        if link.fileno() in ready and not _serve(link, children, (wake_read, wake_write)):
            _end_all(children)
            return


def _wake(number: int, frame: FrameType | None) -> None:
    """The wake-up pipe does the rest."""


def _serve(link: socket.socket, children: set[int], own: tuple[int, int]) -> bool:
    """Handles one message; False when the supervisor has gone."""
    try:
        data, descriptors, _, _ = socket.recv_fds(link, MESSAGE_BYTES, 3)
    except ConnectionError:
        return False
    if not data:
        return False
    message = json.loads(data)
    if message["op"] == "preload":
        _preload(message["modules"])
        _send(link, {"op": "ready"})
    elif message["op"] == "rehearse":
        rehearse_all([message["payload"]])
        gc.collect()
        gc.freeze()
    elif message["op"] == "fork":
        pid = os.fork()
        if pid == 0:
            _become_worker(link, own, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        children.add(pid)
        _send(link, {"op": "forked", "id": message["id"], "pid": pid})
    elif message["pid"] in children:  # not reaped yet, so the number is still its own
        _signal(message["pid"], message["signal"])
    return True


def _preload(modules: list[str]) -> None:
    for module in modules:
        _import(module)
    for module, late in IMPORTED_LATE.items():
        if module in sys.modules:
            for name in late:
                _import(name)
    gc.collect()
    gc.freeze()  # pages that the collector never touches stay shared


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except Exception:  # the cells that need it will fail by themselves
        return


def _become_worker(link: socket.socket, own: tuple[int, int], descriptors: list[int]) -> NoReturn:
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with contextlib.suppress(PermissionError):
            os.setsid()
        link.close()
        for descriptor in own:
            os.close(descriptor)
        down, up, output = descriptors
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
        code = work(down, up)
    finally:
        leave(code)
    raise AssertionError("unreachable")


def _ended(children: set[int]) -> list[tuple[int, int]]:
    """Children that have ended, with their wait status, after what they left in their group."""
    found = []
    for pid in list(children):
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            continue
        _signal(pid, signal.SIGKILL)  # while the number is still its own
        children.discard(pid)
        found.append((pid, os.waitpid(pid, 0)[1]))
    return found


def _end_all(children: set[int]) -> None:
    """SIGTERM, a while to save what is under way, SIGKILL."""
    for pid in children:
        _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + ORPHAN_SECONDS
    while children and time.monotonic() < deadline:
        _ended(children)
        time.sleep(TICK_SECONDS)
    for pid in children:
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    for target in (os.killpg, os.kill):  # the group is there only after setsid in the child
        try:
            target(pid, number)
            return
        except (ProcessLookupError, PermissionError):
            continue


def _send(link: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(ConnectionError):  # the next reading finds the end
        link.send(json.dumps(message).encode())
