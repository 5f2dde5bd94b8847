"""Learning: the examples log becomes a model and its metrics.

- `control_commands`: control records of the log, such as rollbacks, and those that were applied.
- `learner_state`: model and metrics; with the applied decisions the content of a checkpoint.
- `finite_learning`: learning that keeps a model finite.
- `learner`: evaluates predictions, learns examples and applies control records.
"""
