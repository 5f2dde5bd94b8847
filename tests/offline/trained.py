"""Training to its end, as the command does."""

from stream_app.loading import load_pipeline
from stream_app.offline.simulation import Simulation, open_simulation
from stream_app.offline.training import TrainedModel, Training


def train(declared: str, events: str, labels: str, since: int = 0) -> TrainedModel:
    """What comes of the files, with a declared pipeline."""
    with open_simulation(load_pipeline(declared), events, labels) as (trial, _):
        return trained(trial, since)


def trained(trial: Simulation, since: int = 0) -> TrainedModel:
    """What comes of a trial."""
    training = Training(trial, since)
    for _ in training:
        pass
    return training.result()
