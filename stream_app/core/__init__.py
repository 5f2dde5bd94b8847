"""The pure core: bytes in, outcomes out; no Kafka, no clock, no I/O. Time is an argument."""
