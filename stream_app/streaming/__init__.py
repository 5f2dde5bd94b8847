"""The shell around the core: Faust fetches, a transactional task per partition writes."""
