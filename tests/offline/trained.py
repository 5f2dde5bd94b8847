"""Complete training, as the command does it."""

from stream_app.loading import load_pipeline
from stream_app.offline.simulation import Simulation, open_simulation
from stream_app.offline.training import TrainedModel, Training


def train(declared: str, events: str, labels: str, since: int = 0) -> TrainedModel:
    """Return the model that a declared pipeline learns from files."""
    with open_simulation(load_pipeline(declared), events, labels) as (simulation, _):
        return trained(simulation, since)


def trained(simulation: Simulation, since: int = 0) -> TrainedModel:
    """Return the model that a simulation learns."""
    training = Training(simulation, since)
    for _ in training:
        pass
    return training.result()
