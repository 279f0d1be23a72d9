"""Pure functions in Sutton & Barto's letters.

Time is axis 0; `discount` is 0 only after a terminal state, never at a time limit.
"""
