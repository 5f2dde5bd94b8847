"""The shell around the core: Faust fetches, one transactional task for all partitions writes."""
