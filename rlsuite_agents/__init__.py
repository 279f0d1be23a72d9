"""What learns. Registered by `rlsuite_agents.plugin`."""
