"""What is deployed: Compose, Kafka, Prometheus, Grafana, and the image."""
