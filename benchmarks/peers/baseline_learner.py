"""Hand-written River loop: predict, update three metrics, learn, commit periodically."""

import sys
from time import monotonic

import orjson
from confluent_kafka import Consumer
from river import metrics

from benchmarks.peers.work import trained_model

COMMIT_SECONDS = 0.1


def main(servers: str, examples: str, group: str) -> None:
    """Runs until killed."""
    model = trained_model()
    log_loss, roc_auc, accuracy = metrics.LogLoss(), metrics.ROCAUC(), metrics.Accuracy()
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([examples])
    committed, learned = monotonic(), False
    while True:
        messages = consumer.consume(1000, 0.05)
        learned = learned or bool(messages)
        for message in messages:
            example = orjson.loads(message.value())
            features, label = example["features"], example["label"]
            probabilities = model.predict_proba_one(features)
            log_loss.update(label, probabilities)
            roc_auc.update(label, probabilities)
            accuracy.update(label, probabilities[True] >= 0.5)
            model.learn_one(features, label)
        if learned and monotonic() - committed > COMMIT_SECONDS:
            consumer.commit(asynchronous=True)
            committed, learned = monotonic(), False


if __name__ == "__main__":
    main(*sys.argv[1:])
