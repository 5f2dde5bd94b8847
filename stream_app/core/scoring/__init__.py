"""Scoring: events become scored records or dead letters, and labels join their predictions.

- `scorer`: scores the events of a partition and joins labels to predictions.
- `predictor`: calls the model, with the declared fallback.
- `model_protocols`: interfaces of the model versions that score.
- `partition_state`: keyed state of a partition: known events, waiting labels, watermarks.
- `prediction_blocks`: blocks of predictions in the changelog, and the restore floor.
- `state_changelog`: records of the changelog and their only reader.
- `state_codec`: compact encodings of predictions and records in the state.
- `expiry_queue`: order in which entries of the state expire.
- `retries`: events that wait for another attempt.
- `circuit_breaker`: stops the events of a partition while most of them fail.
- `record_counts`: exact counts of the outcomes.
- `replay_headers`: headers of a replay, if they are believable.
- `lateness`: failures of records that come too late.
- `dead_letter`: dead letters with the failure, and the fingerprint of its cause, in the headers.
"""
