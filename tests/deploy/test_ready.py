"""The health check of the containers tells whether a worker is ready, at little cost."""

import resource
import subprocess
import sys

from stream_app.broker.node import free_port
from stream_app.worker.health import HealthServer
from tests.deploy.compose import DEPLOY


def check(port: int) -> int:
    """Return the exit code of the health check."""
    command = [sys.executable, "-I", "-S", str(DEPLOY / "ready.py"), f"127.0.0.1:{port}"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"", b"")
    return done.returncode


def test_a_worker_is_healthy_only_while_it_is_ready() -> None:
    reasons = ["restoring state"]
    with HealthServer("127.0.0.1", 0, reasons=lambda: reasons) as health:
        assert check(health.port) == 1
        reasons.clear()
        assert check(health.port) == 0
    assert check(free_port()) == 1


def test_a_check_costs_less_than_a_tenth_of_a_second_of_cpu_time() -> None:
    with HealthServer("127.0.0.1", 0) as health:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert check(health.port) == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.1
