"""Bytewax as in its documentation; it commits no offsets."""

import sys

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSourceMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.testing import cluster_main

from benchmarks.peers.work import BAD, score, trained_model


def flow(servers: str, raw: str, scored: str, dead: str) -> Dataflow:
    """Returns the dataflow: read, score, branch, write."""
    model = trained_model()
    flow = Dataflow("bench")
    source = kop.input("in", flow, brokers=[servers], topics=[raw], tail=True, batch_size=1000)

    def work(message: KafkaSourceMessage) -> tuple[bool, KafkaSinkMessage]:
        try:
            return True, KafkaSinkMessage(message.key, score(model, message.value))
        except BAD:
            return False, KafkaSinkMessage(message.key, message.value)

    outcomes = op.branch("good", op.map("score", source.oks, work), lambda outcome: outcome[0])
    kop.output(
        "scored",
        op.map("one", outcomes.trues, lambda outcome: outcome[1]),
        brokers=[servers],
        topic=scored,
    )
    kop.output(
        "dead",
        op.map("other", outcomes.falses, lambda outcome: outcome[1]),
        brokers=[servers],
        topic=dead,
    )
    return flow


if __name__ == "__main__":
    cluster_main(flow(*sys.argv[1:]), [], 0)
