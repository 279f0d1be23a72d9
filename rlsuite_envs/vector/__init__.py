"""Vector environments that step all their rows in one compiled call, equal to `SyncVectorEnv`."""
