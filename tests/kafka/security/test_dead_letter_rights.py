"""Who may look at dead letters and who may act on them, and what the others are told."""

import time
from pathlib import Path
from uuid import uuid4

import pytest

from stream_app.kafka.acl import rights
from stream_app.kafka.acl_roles import AclRole
from tests.kafka.security.cluster import SecuredCluster
from tests.kafka.security.commands import only_error, run
from tests.running_system import System

pytestmark = pytest.mark.broker

ACT = ("--yes", "--why", "test", "--json")
LOOKS = (("groups",), ("list",), ("show",), ("try",), ("replay", "--force"), ("status",))


@pytest.mark.faults
def test_an_observer_looks_a_replayer_acts(cluster: SecuredCluster, tmp_path: Path) -> None:
    name, now = f"rights-{uuid4().hex[:8]}", int(time.time() * 1000) - 3_600_000
    observer, replayer, consumer = (
        cluster.user(rights(name, role))
        for role in (AclRole.OBSERVER, AclRole.REPLAYER, AclRole.CONSUMER)
    )
    needed = rights(name, AclRole.REPLAYER)
    partial = cluster.user(
        [one for one in needed if (one.operation, one.name) != ("write", f"{name}.raw.replay")]
    )
    with System(cluster.address("INSIDE"), tmp_path, name, partitions=2) as system:
        pipeline = str(system.pipeline)
        system.start_all()
        for number in range(10):
            system.send_event(number, now, amount="much")
        system.settle()

        for words in LOOKS:
            looked = run(
                tmp_path / "observer",
                observer,
                "dead-letters",
                words[0],
                pipeline,
                *words[1:],
                "--json",
            )
            assert (looked.code, bool(looked.output)) == (0, True), looked
        refused = only_error(
            run(tmp_path / "consumer", consumer, "dead-letters", "groups", pipeline)
        )
        assert f"{name}.replays" in refused
        for words in (("park",), ("replay", "--force")):
            ended = run(
                tmp_path / "observer",
                observer,
                "dead-letters",
                words[0],
                pipeline,
                *words[1:],
                *ACT,
            )
            assert f"use the transactional id {name}-replays" in only_error(ended)

        ended = run(
            tmp_path / "partial", partial, "dead-letters", "replay", pipeline, "--force", *ACT
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
            "--relapse",
            "1",
            *ACT,
        )
        assert done.json["outcome"]["failed"] == {"wrong-type": 10}
        parked = run(tmp_path / "replayer", replayer, "dead-letters", "park", pipeline, *ACT).json
        assert parked["letters"] == 10
        restored = run(
            tmp_path / "replayer", replayer, "dead-letters", "restore", pipeline, parked["id"], *ACT
        )
        assert restored.json["letters"] == 10
