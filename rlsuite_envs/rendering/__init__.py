"""Pictures of environments: pure functions from a state to pixels, with NumPy and nothing else.

`grid`, `arms` and `letters` hold one `frame` function per kind of environment, which returns a
fresh uint8 array [height, width, 3], and one `text` function for the mode `"ansi"`; `tabular` has
what the environments of a table share. `canvas` draws shapes, `font` letters; `display` is the part
of an environment that knows its `render_mode`. The same state gives the same bytes.
"""
