"""Which model version the scorers serve, as they themselves say."""

import json
from threading import Thread
from time import sleep

from stream_app.worker.supervisor import Child, Supervisor

POLL_SECONDS = 0.02


class ModelTimeline:
    """Asks every scorer, in a thread; `version` is the oldest that any of them serves."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.version = 0
        self._supervisor = supervisor
        Thread(target=self._ask_for_ever, name="served", daemon=True).start()

    def _ask_for_ever(self) -> None:
        while True:
            scorers = [child for child in self._supervisor.children if child.role == "score"]
            self.version = min(self._ask(child) for child in scorers)
            sleep(POLL_SECONDS)

    def _ask(self, scorer: Child) -> int:
        """The version of one scorer; 0 while it does not answer."""
        answer = self._supervisor.ask(scorer, "/readyz")
        return int(json.loads(answer).get("model_version", 0)) if answer else 0
