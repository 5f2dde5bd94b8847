"""The same work by six stream processors, for `benchmarks.throughput`."""
