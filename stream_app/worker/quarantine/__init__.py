"""Quarantine of poison records: records that crash a worker, hang it or exhaust its memory.

A worker notes in its journal which record it processes; the file survives a crash. A watchdog
process kills a worker whose record exceeds its limits. The next worker finds the candidates in the
journal, runs each of them in a trial process, and dead-letters those that fail there again. For
some minutes after a poison record, every record gets a trial run. All others are processed. A
worker without the journal of the one before it keeps what isolation needs in Kafka instead.

- `journal`: record that each thread processes, the candidates, and the code location of a crash.
- `claims`: what a worker begins to process, in Kafka, for a successor without a journal.
- `watchdog`: process that enforces the limits of a record.
- `trial_runs`: thread of the worker that drives the trial process.
- `trial_process`: process that scores or reads candidates and discards the result.
- `quarantine`: these parts for one worker, and the check of every record or example before it is
  processed.
"""
