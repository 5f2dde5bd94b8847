"""Models come back bit for bit; a pickle with any other name is rejected."""

import builtins
import functools
import os
import pickle
import pickletools
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from river import base, compose, ensemble, forest, linear_model, naive_bayes, preprocessing, tree

from stream_app.errors import ModelError
from stream_app.model_store.families import pipeline_modules
from stream_app.model_store.pickling import dump, load
from stream_app.records import Features
from tests.learning import ALL_NAMES, logistic, phishing, with_rates

HERE = ALL_NAMES._replace(modules=frozenset({__name__}))

MODELS: dict[str, Callable[[], Any]] = {
    "logistic regression": logistic,
    "target rates": with_rates,
    "one-hot": lambda: (
        compose.SelectType(str) | preprocessing.OneHotEncoder() | linear_model.LogisticRegression()
    ),
    "Hoeffding tree": lambda: tree.HoeffdingTreeClassifier(grace_period=50),
    "Hoeffding adaptive tree": lambda: tree.HoeffdingAdaptiveTreeClassifier(
        grace_period=50, seed=1
    ),
    "naive Bayes": naive_bayes.GaussianNB,
    "adaptive random forest": lambda: forest.ARFClassifier(n_models=3, seed=1),
    "ALMA": lambda: preprocessing.StandardScaler() | linear_model.ALMAClassifier(),
    "ADWIN bagging": lambda: ensemble.ADWINBaggingClassifier(
        tree.HoeffdingTreeClassifier(), n_models=2, seed=1
    ),
}


class Weights(base.Classifier):  # type: ignore[misc]  # River's bases are not checked
    """Model of a user, with an array."""

    def __init__(self) -> None:
        self.weights = np.ones(3)
        self.scale = np.float64(2.0)

    def learn_one(self, x: dict[str, float], y: bool) -> None:
        self.weights *= 1.1

    def predict_proba_one(self, x: dict[str, float]) -> dict[bool, float]:
        return {True: float(self.weights[0] / self.weights.sum() / self.scale)}


class Outer:
    """Class of a user's module with a nested class."""

    class Inner:
        pass


def trained(make: Callable[[], Any]) -> Any:
    model = make()
    for x, y in phishing()[:600]:
        model.learn_one(_strings(x) if make is MODELS["one-hot"] else x, y)
    return model


def _strings(x: Features) -> Features:
    return {name: str(value) for name, value in x.items()}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_predicts_and_learns_bit_for_bit_the_same_after_loading(name: str) -> None:
    model = trained(MODELS[name])
    copy = load(dump(model), ALL_NAMES)
    rows = [(_strings(x) if name == "one-hot" else x, y) for x, y in phishing()[600:750]]
    for x, y in rows:
        assert copy.predict_proba_one(x) == model.predict_proba_one(x)
        model.learn_one(x, y)
        copy.learn_one(x, y)
    assert [copy.predict_proba_one(x) for x, _ in rows] == [
        model.predict_proba_one(x) for x, _ in rows
    ]


@pytest.mark.parametrize("name", MODELS)
def test_predicting_does_not_change_a_model(name: str) -> None:
    data = dump(trained(MODELS[name]))
    busy, fresh = load(data, ALL_NAMES), load(data, ALL_NAMES)
    rows = [x for x, _ in phishing()]
    for i, x in enumerate(rows):
        busy.predict_proba_one({**x, "age_of_domain": 1000 + i} if name == "target rates" else x)
    assert len(dump(busy)) <= len(data) + 500
    assert [busy.predict_proba_one(x) for x in rows] == [fresh.predict_proba_one(x) for x in rows]


def test_a_class_of_a_pipelines_module_is_allowed_in_that_pipeline_only() -> None:
    data = dump(Weights())
    assert load(data, HERE).predict_proba_one({}) == Weights().predict_proba_one({})
    with pytest.raises(ModelError, match="Weights, which models of the family own may not contain"):
        load(data, ALL_NAMES)


def test_the_modules_of_a_pipeline_are_those_of_its_functions() -> None:
    assert pipeline_modules(functools.partial(logistic), dict, os.path.join) == {"tests.learning"}


class Call:
    """Pickles to a call of any function with any arguments."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def named(module: str, name: str, *args: str) -> bytes:
    """Return a pickle that calls `module.name` with strings."""
    words = b"".join(b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, name))
    strings = b"".join(b"\x8c" + bytes([len(word)]) + word.encode() for word in args)
    return b"\x80\x05" + words + b"\x93(" + strings + b"tR."


HARMFUL = {
    "os.system": dump(Call(os.system, "true")),
    "builtins.eval": dump(Call(builtins.eval, "1")),
    "builtins.exec": dump(Call(builtins.exec, "1")),
    "builtins.getattr": dump(Call(getattr, "a", "upper")),
    "builtins.__import__": dump(Call(builtins.__import__, "os")),
    "builtins.open": dump(Call(builtins.open, "/dev/null")),
    "subprocess.Popen, a class": dump(Call(subprocess.Popen, ["true"])),
    "a partial of os.system": dump(Call(functools.partial, os.system, "true")),
    "another module's function": dump(Call(shutil.rmtree, "/nowhere")),
    "a function of River": named("river.utils.random", "poisson"),
    "os through a River module, dotted": named("river.datasets.base", "os.system", "true"),
    "a module that River imports": named("river.base.base", "inspect"),
    "a class that River imports": named("river.datasets.base", "Path", "/"),
    "a function that nearest neighbours need": named(
        "river._river_rust.vectordict", "euclidean_distance_tuple"
    ),
    "a method, dotted": named("river.linear_model.log_reg", "LogisticRegression.clone"),
    "a class attribute's way to everything": named("river.base.base", "Base.__subclasses__"),
    "River's readers of files": named("river.stream.cache", "Cache", "/tmp"),
    "River's downloads": named("river.datasets.higgs", "Higgs"),
    "a module of ours with side effects": named(
        "stream_app.model_store.artifacts", "ArtifactStore", "/nowhere"
    ),
    "a name that only looks like River": named("riverbed", "Anything"),
    "a module that is not there": named("river.no_such", "Thing"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_a_harmful_pickle_is_rejected(name: str) -> None:
    with pytest.raises(ModelError):
        load(HARMFUL[name], HERE)


def test_harmful_pickles_work_with_the_plain_unpickler() -> None:
    assert pickle.loads(HARMFUL["builtins.eval"]) == 1
    assert list(pickletools.genops(named("os", "system", "true")))[-1][0].name == "STOP"


def test_functions_and_nested_classes_of_a_pipelines_module_are_rejected() -> None:
    for thing in (trained, Outer.Inner()):
        with pytest.raises(ModelError, match="may not contain"):
            load(dump(thing), HERE)


@pytest.mark.parametrize("data", [b"", b"\x80\x05", b"not a pickle", b"\x80\x05\x8c\xff"])
def test_a_damaged_pickle_is_a_model_error(data: bytes) -> None:
    with pytest.raises(ModelError, match="cannot be read back"):
        load(data, ALL_NAMES)


def test_a_model_with_a_lambda_cannot_be_stored() -> None:
    with pytest.raises(ModelError, match="cannot be stored"):
        dump(compose.FuncTransformer(lambda x: x))
