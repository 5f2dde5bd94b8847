"""Dead letters as their operators see them: an index of the topics, choosing from it, reading, trying again."""
