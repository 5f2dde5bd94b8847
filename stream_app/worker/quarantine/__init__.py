"""Records that crash a process, hang it or exhaust its memory: each becomes one dead letter, and the rest goes on.

A worker notes in a `journal` which record it works on; the file outlives it. A `watch` process ends a worker whose
record exceeds its limits. The next worker finds its `suspicion` in the journal, has each suspect tried in a `child`
and makes a dead letter of those that do it again. For some minutes after that every record is tried there first.
"""
