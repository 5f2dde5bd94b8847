"""Kafka clients and the commands that write to and read from topics."""
