"""Learning: the examples log becomes a model and its metrics.

- `examples_log`: records of the log: control records, and decoding of examples.
- `learner_state`: model, applied decisions and metrics; the content of a checkpoint.
- `learner`: evaluates predictions, learns examples and applies control records.
"""
