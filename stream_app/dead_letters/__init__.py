"""Dead letters: inspection, preview, replay and the audit of all operations.

Reading, in the order of the flow:

- `dead_letter_reader`: a dead letter, its reference and origin, and the reader of chosen ones.
- `index_file`, `indexer`, `index`: the local index, its update from the topics, and its queries.
- `dead_letter_selection`: a selection of dead letters.
- `access`: opens index, reader and ledger of a pipeline.
- `groups`: dead letters by cause.
- `dead_letter_rendering`: output as text, JSON and files.

Evaluating without sending:

- `dry_run`: outcomes of dead letters with the current pipeline and model.

Changing their state:

- `ledger`: operations and the states of dead letters in `<p>.replays`.
- `dead_letter_admin`: admin client that writes ledger and audit in transactions.
- `operations`: park, drop, restore, and the status of all operations.
- `replay`: a replay from request to result.
- `replay_plan`, `replay_records`, `replay_producer`, `replay_outcomes`: its plan, the records that
  it sends with the user's edits, the producer, and what becomes of the records.
"""
