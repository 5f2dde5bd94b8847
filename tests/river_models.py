"""Trains every River model that may be declared, and compares with what another process has stored.

Run as `python -m tests.river_models eager|deferred FILE [OTHER_FILE]`. "eager" imports River before
`stream_app`, so that it gets the real scipy; "deferred" imports `stream_app` first.
"""

import pickle
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

LEARNED, SCORED = 60, 20


def main(mode: str, file: str, *others: str) -> None:
    """Write stored models and their scores to `file`; fail where those in another file differ."""
    import_module("river.tree" if mode == "eager" else "stream_app")
    catalogue = import_module("benchmarks.catalogue")
    import_module("stream_app")
    assert ("scipy.stats" in sys.modules) == (mode == "eager")
    found = {}
    for task, models in catalogue.CATALOGUE.items():
        rows = catalogue.rows(task)
        for name, make in models.items():
            model = make()
            for x, y in rows[:LEARNED]:
                model.learn_one(x, y)
            found[name] = (task, pickle.dumps(model), scores(catalogue, name, task, model))
    Path(file).write_bytes(pickle.dumps(found))
    for other in others:
        stored = pickle.loads(Path(other).read_bytes())
        assert stored.keys() == found.keys()
        for name, (task, artifact, expected) in stored.items():
            assert expected == found[name][2], name
            assert scores(catalogue, name, task, pickle.loads(artifact)) == expected, name


def scores(catalogue: Any, name: str, task: str, model: Any) -> list[str]:
    """Return the scores of examples that the model has not learned."""
    rows = catalogue.rows(task)[LEARNED : LEARNED + SCORED]
    return [repr(catalogue.predict(name, model, x)) for x, _ in rows]


if __name__ == "__main__":
    main(*sys.argv[1:])
