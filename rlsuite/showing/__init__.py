"""One agent in one environment, looked at: play, film, value tables."""
