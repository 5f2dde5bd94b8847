"""Training to its end, as the command does."""

from stream_app.laboratory.training import Trained, Training
from stream_app.loading import load_pipeline
from stream_app.trial.run import Trial, open_trial


def train(declared: str, events: str, labels: str, since: int = 0) -> Trained:
    """What comes of the files, with a declared pipeline."""
    with open_trial(load_pipeline(declared), events, labels) as (trial, _):
        return trained(trial, since)


def trained(trial: Trial, since: int = 0) -> Trained:
    """What comes of a trial."""
    training = Training(trial, since)
    for _ in training:
        pass
    return training.result()
