"""The same work by several stream processors, for `benchmarks.throughput`."""
