"""Labels that are the same for all metrics of a process."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from stream_app.telemetry.metrics import labelled_registry


def test_every_series_has_the_label_as_of_the_moment_of_reading() -> None:
    registry = CollectorRegistry()
    records = Counter("records_total", "Records.", ["outcome"], registry=registry)
    Gauge("ready", "Ready.", registry=registry).set_function(lambda: 1)
    Histogram("seconds", "Time.", registry=registry, buckets=(1.0,)).observe(0.5)
    Info("worker", "Worker.", registry=registry).info({"pipeline": "mine"})
    labelled = labelled_registry({"pipeline": "p"}, registry)
    records.labels("scored").inc(3)
    text = generate_latest(labelled).decode()
    assert 'records_total{outcome="scored",pipeline="p"} 3.0' in text
    assert 'ready{pipeline="p"} 1.0' in text
    assert 'seconds_bucket{le="+Inf",pipeline="p"} 1.0' in text
    assert 'worker_info{pipeline="mine"} 1.0' in text
    assert "# TYPE records_total counter" in text
    series = [line for line in text.splitlines() if not line.startswith("#")]
    assert all("pipeline=" in line for line in series)
    records.labels("scored").inc()
    assert 'records_total{outcome="scored",pipeline="p"} 4.0' in generate_latest(labelled).decode()
