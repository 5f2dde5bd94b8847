"""Worker process: Faust fetches batches, and one transactional task processes all partitions.

- `startup`: entry point of a worker process, which waits for Kafka.
- `worker`: one role of one pipeline in this process.
- `supervisor`: the workers of a pipeline as child processes, with restarts.
- `assignments`: one task per assignment, replaced if it fails.
- `stream_task`, `subtask`: batches in, transactions out, exactly once.
- `transaction_writer`: transactional producer that retries and fences.
- `faust_transport`, `coordinator`: Faust's consumer, and its membership in the group.
- `batch_decoding`: batches that the client library cannot decode.
- `processor`: interface between a task and a role.
- `model_follower`: model version that the aliases name.
- `outages`: reasons why a worker waits, and their report.
- `health`: `/metrics`, `/healthz` and `/readyz`.
- `run_folder`: errors and restart histories on this machine.
- `roles`: scorer, learner and monitor.
- `quarantine`: records that crash a worker, hang it or exhaust its memory.
"""
