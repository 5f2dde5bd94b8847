"""Quarantine of poison records: records that crash a worker, hang it or exhaust its memory.

A worker notes in its journal which record it processes; the file survives a crash. A watchdog
process kills a worker whose record exceeds its limits. The next worker finds the candidates in the
journal, runs each of them in a trial process, and dead-letters those that fail there again. For
some minutes after a poison record, every record gets a trial run. All others are processed.

- `journal`: record that each thread processes, and the code location of a crash.
- `watchdog`: process that enforces the limits of a record.
- `candidates`: records that may have ended a worker, in a file.
- `trial_runs`: thread of the worker that drives the trial process.
- `trial_process`: process that scores candidates and discards the result.
- `quarantine`: these parts for one worker.
- `record_guards`: check of every record or example before it is processed.
"""
