"""Trace of one event: its records, preparation, score, label and the version that learned it.

- `event_finder`: finds the records about an event in the pipeline's topics.
- `entry_history`: history of the event's entry in the scorer's state.
- `trace_builder`: builds the trace from them, and scores the event again.
- `first_learner`: the first version that learned an example, given the decisions in the log.
- `label_knowledge`: outcomes of the labels of the event.
- `event_trace`: the trace as a value, as JSON and as text.
"""
