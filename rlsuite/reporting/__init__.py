"""From run records to tables, plots and the page."""
