"""Rules for the code itself: words, names, imports and Kafka clients."""
