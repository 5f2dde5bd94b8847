"""Tests of the deployment: Compose, Kafka, Prometheus, Grafana, and the image."""
