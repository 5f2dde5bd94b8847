"""What became of one event, and why.

`finding` reads its records, `story` puts them together as `facts`, `rendering` tells them.
"""
