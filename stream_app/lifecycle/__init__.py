"""Life of a whole pipeline on one machine.

- `up`: starts broker, topics and workers, and supervises them.
- `reset`: deletes what a pipeline has stored.
"""
