"""The inside of a worker process: one cell, from JSON to the bytes of its record.

Frames go up to the supervisor: one letter, eight bytes of length, the content.

    P   progress: JSON [steps, budget]
    M   the most memory used so far, in bytes, where the supervisor cannot see it by itself
    R   the record, as `rlsuite.running.packing.to_bytes` writes it

The supervisor sends one frame down, the payload, and keeps its end of the pipe open: when it is
closed, nobody wants the result any more, and the worker ends with all of its process group.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

__all__ = ["PROC", "STOPPED", "main", "read_frame", "rehearse_all", "work", "write_frame"]

STOPPED = 75
"""Exit code of a worker that was asked to stop, and has saved its training."""

BROKEN = 70
"""Exit code of a worker that could not begin: its output says why."""

ORPHAN_SECONDS = 10.0
"""How long a worker without a supervisor has to save its training."""

REPORT_SECONDS = 0.2
PROC = Path("/proc/self/statm").exists()


def write_frame(descriptor: int, kind: bytes, content: bytes) -> None:
    """Writes a frame, all of it."""
    data = memoryview(kind + len(content).to_bytes(8, "little") + content)
    while data:
        data = data[os.write(descriptor, data) :]


def read_frame(descriptor: int) -> tuple[bytes, bytes] | None:
    """The next frame; None at the end, or where the last frame is torn."""
    head = _read(descriptor, 9)
    if head is None:
        return None
    content = _read(descriptor, int.from_bytes(head[1:], "little"))
    return None if content is None else (head[:1], content)


def _read(descriptor: int, size: int) -> bytes | None:
    parts = []
    while size:
        part = os.read(descriptor, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def work(down: int, up: int) -> int:
    """Runs the cell that is sent, and sends what became of it; the exit code of the process."""
    lock = threading.Lock()

    def send(kind: bytes, content: bytes) -> None:
        with lock:
            write_frame(up, kind, content)

    frame = read_frame(down)
    if frame is None:
        return BROKEN
    threading.Thread(target=_end_with_supervisor, args=(down,), daemon=True).start()
    if not PROC:
        threading.Thread(target=_report_memory, args=(send,), daemon=True).start()
    try:
        from rlsuite.running.packing import to_bytes
        from rlsuite.running.payloads import run_payload

        record = run_payload(
            frame[1].decode(),
            lambda steps, budget: send(b"P", json.dumps([steps, budget]).encode()),
        )
        send(b"R", to_bytes(record))
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:
        return BROKEN  # nobody listens any more
    except Exception:
        traceback.print_exc()
        return BROKEN
    return 0


def rehearse_all(payloads: Sequence[str]) -> None:
    """Compiles what these cells will compile."""
    from rlsuite.running.payloads import rehearse

    for payload in payloads:
        try:
            rehearse(payload)
        except Exception:  # of an agent or an environment: its cells will say what is wrong
            continue


def main() -> None:
    """A process of its own: frames on standard input and output, the rest on standard error."""
    down, up = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    leave(work(down, up))


def leave(code: int) -> None:
    """Ends this process at once: what the cell registered to run at the exit is not run."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue  # its reader is gone, or the cell has closed it
    os._exit(code)


def _end_with_supervisor(down: int) -> None:
    """Ends this process, and all of its group, when the supervisor has gone."""
    try:
        while os.read(down, 1):
            pass
    except OSError:
        pass  # the cell has closed what is not its own: nobody can be heard any more
    os.kill(os.getpid(), signal.SIGTERM)  # a training that can be saved is saved now
    time.sleep(ORPHAN_SECONDS)
    if hasattr(os, "killpg") and os.getpgid(0) == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(STOPPED)


def _report_memory(send: object) -> None:
    try:
        import resource
    except ImportError:
        return
    unit = 1 if sys.platform == "darwin" else 1024
    while True:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        send(b"M", str(peak).encode())  # type: ignore[operator]
        time.sleep(REPORT_SECONDS)
