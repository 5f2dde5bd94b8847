"""Producers of other Kafka clients, each with its default partitioner."""
