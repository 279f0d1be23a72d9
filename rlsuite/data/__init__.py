"""What is done with stored results: compare, query, frame, export, import."""
