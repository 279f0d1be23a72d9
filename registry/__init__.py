"""What plugs in: contracts, specs, the catalogue and the discovery of plugins.

Users never need to import this package: `rlsuite` re-exports what they need.
"""
