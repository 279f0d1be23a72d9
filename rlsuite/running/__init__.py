"""From a suite to finished cells: the plan, the loop, what survives a kill."""
