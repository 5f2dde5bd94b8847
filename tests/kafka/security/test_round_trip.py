"""Events are scored over secured connections: SCRAM over TLS, mTLS, and `up`."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from stream_app.kafka.acl import AclRole, required_acls
from stream_app.settings import KafkaSettings
from tests.kafka.security.cluster import PASSWORD, SecuredCluster
from tests.kafka.security.commands import only_error, run
from tests.patience import PATIENCE
from tests.running_system import ROOT, System, kafka_environment
from tests.small_pipeline import event, label

pytestmark = pytest.mark.broker

EVERYTHING = (AclRole.PRODUCER, AclRole.SCORER, AclRole.LEARNER, AclRole.CONSUMER)


def with_password_file(cluster: SecuredCluster, folder: Path, name: str) -> KafkaSettings:
    file = folder / "password"
    file.write_text(f"{PASSWORD}\n")
    user = cluster.user(required_acls(name, *EVERYTHING))
    return cluster.settings("CLIENT", username=user.username, password_file=file)


def with_certificate(cluster: SecuredCluster, folder: Path, name: str) -> KafkaSettings:
    """Return settings with an encrypted key and its password in a file."""
    identity = cluster.authority.issue(name, password=PASSWORD)
    cluster.grant(f"User:CN={name}", required_acls(name, *EVERYTHING))
    file = folder / "key-password"
    file.write_text(PASSWORD)
    return cluster.settings(
        "MTLS", certificate_file=identity.certificate, key_file=identity.key, key_password_file=file
    )


@pytest.mark.parametrize("way", [with_password_file, with_certificate], ids=["scram", "mtls"])
def test_events_are_scored_over_secured_connections(
    cluster: SecuredCluster, tmp_path: Path, way: object
) -> None:
    name = f"trip-{uuid4().hex[:8]}"
    with System(cluster.address("INSIDE"), tmp_path, name, partitions=2) as system:
        kafka = way(cluster, tmp_path, name)  # type: ignore[operator]
        system.environment = kafka_environment(kafka) | {"STREAM_APP_LOG__LEVEL": "debug"}
        system.start_all()
        now, pipeline = int(time.time() * 1000) - 3_600_000, str(system.pipeline)
        events = "".join(json.dumps(event(number, now)) + "\n" for number in range(20))
        labels = "".join(json.dumps(label(number, now + 1)) + "\n" for number in range(20))
        debugging: Any = {"own_process": True, "STREAM_APP_LOG__LEVEL": "debug"}
        assert run(tmp_path, kafka, "produce", pipeline, "-", typed=events, **debugging).code == 0
        assert (
            run(
                tmp_path, kafka, "produce", pipeline, "-", "--labels", typed=labels, **debugging
            ).code
            == 0
        )
        # The labels' completeness has a record in each of two partitions.
        system.sent.update(raw=20, labels=20 + 2)
        system.check_outcomes()
        read = run(
            tmp_path, kafka, "consume", pipeline, "scored", "--until-end", "--json", **debugging
        )
        assert len(read.output.splitlines()) == 20, read
        for worker in list(system.workers):
            system.terminate(worker)
            assert PASSWORD not in (tmp_path / f"{worker}.log").read_text()


def test_one_user_can_run_the_whole_pipeline(cluster: SecuredCluster, tmp_path: Path) -> None:
    name = f"up-{uuid4().hex[:8]}"
    kafka = cluster.user(
        required_acls(name, AclRole.OPERATOR, AclRole.SCORER, AclRole.LEARNER, AclRole.MONITOR)
    )
    pipeline = tmp_path / "declared.py"
    pipeline.write_text(
        f"from tests.small_pipeline import small_pipeline\npipeline = small_pipeline('{name}')\n"
    )
    environment = kafka_environment(kafka) | {
        "STREAM_APP_DATA_DIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    with (tmp_path / "up.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "stream_app", "up", str(pipeline)],
            cwd=ROOT,
            env=environment,
            stderr=log,
        )
    try:
        while (
            "ready" not in (text := (tmp_path / "up.log").read_text())
            or text.count('"assigned"') < 3
        ):
            assert process.poll() is None, text
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(30 * PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def test_a_wrong_password_is_one_line_of_every_command(
    cluster: SecuredCluster, tmp_path: Path
) -> None:
    kafka = cluster.settings("CLIENT", username="ann", password="wrong-" + PASSWORD)
    for words in (
        ("topics", "create", "flights"),
        ("topics", "show", "flights"),
        ("produce", "flights", "-"),
        ("consume", "flights", "scored"),
        ("worker", "flights", "--role", "score"),
        ("up", "flights"),
        ("acl", "apply", "flights", "--role", "scorer", "--principal", "User:ann"),
    ):
        ended = run(tmp_path, kafka, *words, own_process=words[0] in ("worker", "up"))
        line = only_error(ended)
        assert (
            "rejects this client: authentication failed. Check STREAM_APP_KAFKA__USERNAME and"
            in line
        )
        # On a busy machine; the waiting itself is over in less than one.
        assert ended.seconds < 30 * PATIENCE
