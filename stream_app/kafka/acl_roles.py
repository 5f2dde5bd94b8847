"""Who works on a pipeline, as far as rights on the cluster go; light to import."""

from enum import StrEnum


class AclRole(StrEnum):
    """A part that a user of the cluster plays; one user may play several."""

    PRODUCER = "producer"
    SCORER = "scorer"
    LEARNER = "learner"
    MONITOR = "monitor"
    CONSUMER = "consumer"
    REPLAYER = "replayer"
    MODELLER = "modeller"
    OPERATOR = "operator"
    OBSERVER = "observer"


MEANINGS = {
    AclRole.PRODUCER: "sends events and labels",
    AclRole.SCORER: "a worker with --role score",
    AclRole.LEARNER: "a worker with --role learn",
    AclRole.MONITOR: "a worker with --role monitor",
    AclRole.CONSUMER: "reads what comes out",
    AclRole.REPLAYER: "deals with dead letters: sends them again, parks or drops them",
    AclRole.MODELLER: "decides about model versions and learning: trains, rolls back, promotes, pins, collects, holds",
    AclRole.OPERATOR: "creates and shows the topics",
    AclRole.OBSERVER: "asks for the status",
}
"""What each role does."""
