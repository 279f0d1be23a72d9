"""Agents that do to their process what agents sometimes do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


class Good:
    """Plays the first action; takes its steps while it learns."""

    def __init__(self, env, seed, **settings):
        self.env, self.settings = env, settings

    def learn(self, total_timesteps, callback=None):
        self.env.reset()
        for _ in range(total_timesteps):
            ended = self.env.step(0)
            if ended[2] or ended[3]:
                self.env.reset()

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.zeros(np.shape(observation), dtype=np.int64), None


class Leaves(Good):
    def learn(self, total_timesteps, callback=None):
        os.write(1, b"these were \xff\x00 its last words\n")
        os._exit(3)


class Crashes(Good):
    def learn(self, total_timesteps, callback=None):
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)


class Raises(Good):
    def learn(self, total_timesteps, callback=None):
        raise RuntimeError("the wheels came off")


class LeavesPython(Good):
    def learn(self, total_timesteps, callback=None):
        sys.exit(0)


class Binary(Good):
    def learn(self, total_timesteps, callback=None):
        sys.stdout.buffer.write(bytes(range(256)))
        os.write(1, bytes(range(256)) * 10)
        print("\udc80 and more")
        super().learn(total_timesteps)


class Sleeps(Good):
    def learn(self, total_timesteps, callback=None):
        time.sleep(600)


class Stubborn(Good):
    """Ignores SIGTERM, and so does the process that it starts."""

    def learn(self, total_timesteps, callback=None):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(self.settings["note"]).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)


class Waits(Good):
    """Does nothing for ever, and so does the process that it starts."""

    def learn(self, total_timesteps, callback=None):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(self.settings["note"]).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)


class Leaks(Good):
    def learn(self, total_timesteps, callback=None):
        kept = []
        while True:
            kept.append(np.ones(2_000_000))
            time.sleep(0.01)


class KilledOnce(Good):
    """Killed from outside in its first try."""

    def learn(self, total_timesteps, callback=None):
        note = Path(self.settings["note"])
        if not note.exists():
            note.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super().learn(total_timesteps)


class KilledAlways(Good):
    def learn(self, total_timesteps, callback=None):
        print("about to be killed")
        os.kill(os.getpid(), signal.SIGKILL)


class Paced(Good):
    """Takes twenty steps a second, and is evaluated from inside of them."""

    def learn(self, total_timesteps, callback=None):
        self.env.reset()
        for _ in range(total_timesteps):
            time.sleep(0.05)
            ended = self.env.step(0)
            if ended[2] or ended[3]:
                self.env.reset()
