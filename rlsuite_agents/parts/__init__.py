"""Parts that several agents are put together from."""
