"""What became of one event, and why.

`finding` reads its `records`; `story` puts them together as `facts`, with the model's `contributions` and what came of
`learning`; `rendering` tells them.
"""
