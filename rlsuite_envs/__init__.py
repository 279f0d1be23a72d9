"""Environments, their models and their oracles. Registered by `rlsuite_envs.plugin`."""
