"""Studies of bandit policies: thousands of runs, summed up block by block."""
