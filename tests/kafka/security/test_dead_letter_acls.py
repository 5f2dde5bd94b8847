"""An observer may read dead letters, a replayer may replay them; others get an access error."""

import time
from pathlib import Path
from uuid import uuid4

import pytest

from stream_app.kafka.acl import AclRole, required_acls
from tests.kafka.security.cluster import SecuredCluster
from tests.kafka.security.commands import only_error, run
from tests.running_system import System

pytestmark = pytest.mark.broker

CONFIRMED = ("--yes", "--why", "test", "--json")
READING = (("groups",), ("list",), ("show",), ("try",), ("replay", "--force"), ("status",))


@pytest.mark.faults
def test_an_observer_reads_and_a_replayer_replays(cluster: SecuredCluster, tmp_path: Path) -> None:
    name, now = f"rights-{uuid4().hex[:8]}", int(time.time() * 1000) - 3_600_000
    observer, replayer, consumer = (
        cluster.user(required_acls(name, role))
        for role in (AclRole.OBSERVER, AclRole.REPLAYER, AclRole.CONSUMER)
    )
    needed = required_acls(name, AclRole.REPLAYER)
    partial = cluster.user(
        [one for one in needed if (one.operation, one.name) != ("write", f"{name}.raw.replay")]
    )
    with System(cluster.address("INSIDE"), tmp_path, name, partitions=2) as system:
        pipeline = str(system.pipeline)
        system.start_all()
        for number in range(10):
            system.send_event(number, now, amount="much")
        system.await_outcomes()

        for words in READING:
            result = run(
                tmp_path / "observer",
                observer,
                "dead-letters",
                words[0],
                pipeline,
                *words[1:],
                "--json",
            )
            assert (result.code, bool(result.output)) == (0, True), result
        denied = only_error(
            run(tmp_path / "consumer", consumer, "dead-letters", "groups", pipeline)
        )
        assert f"{name}.replays" in denied
        for words in (("park",), ("replay", "--force")):
            ended = run(
                tmp_path / "observer",
                observer,
                "dead-letters",
                words[0],
                pipeline,
                *words[1:],
                *CONFIRMED,
            )
            assert f"use the transactional id {name}.replayer.ledger" in only_error(ended)

        ended = run(
            tmp_path / "partial", partial, "dead-letters", "replay", pipeline, "--force", *CONFIRMED
        )
        assert ended.code == 13, ended
        assert f"{name}.raw.replay" in ended.errors.splitlines()[-1]
        done = run(
            tmp_path / "replayer",
            replayer,
            "dead-letters",
            "replay",
            pipeline,
            "--force",
            "--max-failure-rate",
            "1",
            *CONFIRMED,
        )
        assert done.json["outcome"]["failed"] == {"wrong-type": 10}
        parked = run(
            tmp_path / "replayer", replayer, "dead-letters", "park", pipeline, *CONFIRMED
        ).json
        assert parked["dead_letters"] == 10
        restored = run(
            tmp_path / "replayer",
            replayer,
            "dead-letters",
            "restore",
            pipeline,
            parked["id"],
            *CONFIRMED,
        )
        assert restored.json["dead_letters"] == 10
