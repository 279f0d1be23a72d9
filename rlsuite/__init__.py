"""rlsuite: from one-armed bandits to RLHF behind one Gymnasium API, with the answer key."""

from __future__ import annotations

from registry.plugins import load_plugins

load_plugins()
