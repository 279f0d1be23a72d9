"""Ways to run the cells of a benchmark."""
