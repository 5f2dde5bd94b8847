"""Dead letters: looking at them, trying them, acting on them.

Looking: `access` opens everything; `indexing` fills the `store` with `facts` of each `letter`; the `index` answers a
`selection` by a `query`, and by a `where` expression over what `letters` reads; `groups` and `rendering` show it.

Trying: `edits` mend a letter, `judging` says what the `present` pipeline would make of it, `trying` counts.

Acting: `planning` chooses what a `replay` would send and `refusing` whether it may; the `desk` writes `acts` into the
`ledger`, which tells what has become of every letter; the `sender` sends `outgoing` records, as the `flow` of scorers
and their `outcomes` allow. `deciding` parks, drops and restores; `replays` shows what came of it all.
"""
