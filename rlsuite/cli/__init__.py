"""The command line: one file per command group, each command one call into the rooms above."""
