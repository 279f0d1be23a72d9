"""The racetrack of Sutton & Barto, section 5.7, and an agent that learns to drive on it."""
