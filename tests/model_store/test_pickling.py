"""Models come back bit for bit; a pickle with any other name is rejected."""

import builtins
import functools
import importlib
import os
import pickle
import pickletools
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from river import (
    bandit,
    base,
    compose,
    ensemble,
    feature_extraction,
    feature_selection,
    forest,
    linear_model,
    metrics,
    model_selection,
    naive_bayes,
    preprocessing,
    rules,
    stats,
    tree,
)

from benchmarks.catalogue import CATALOGUE, predict, rows
from stream_app.errors import ModelError, PipelineError
from stream_app.loading import load_pipeline
from stream_app.model_store.pickling import (
    AllowedNames,
    UnsoundModelError,
    allowed_names,
    dump,
    family_of,
    load,
    pickled_names,
    pipeline_modules,
    pipeline_names,
)
from stream_app.model_store.river_names import FAMILIES, GROUPS, METHODS, REJECTED
from stream_app.records import Features
from stream_app.transformers import Pick, TargetRate
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
DECLARED = [(task, name) for task, models in CATALOGUE.items() for name in models]
GETATTR = ("builtins", "getattr")


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


def names_for(family: str) -> AllowedNames:
    return AllowedNames(family, allowed_names(family))


@pytest.mark.parametrize(("task", "name"), DECLARED, ids=[name for _, name in DECLARED])
def test_an_artifact_has_names_of_its_family_only_and_comes_back_bit_for_bit(
    task: str, name: str
) -> None:
    model = CATALOGUE[task][name]()
    names = names_for(family_of(model))
    for x, y in rows(task)[:120]:
        model.learn_one(x, y)
    assert pickled_names(model) - {GETATTR} <= names.exact
    copy = load(dump(model), names)
    for x, y in rows(task)[120:150]:
        assert repr(predict(name, copy, x)) == repr(predict(name, model, x))
        model.learn_one(x, y)
        copy.learn_one(x, y)
    assert [repr(predict(name, copy, x)) for x, _ in rows(task)[:20]] == [
        repr(predict(name, model, x)) for x, _ in rows(task)[:20]
    ]


@pytest.mark.faults
@pytest.mark.parametrize(("task", "name"), DECLARED, ids=[name for _, name in DECLARED])
def test_the_names_of_a_family_are_complete_after_many_examples(task: str, name: str) -> None:
    model = CATALOGUE[task][name]()
    names = names_for(family_of(model))
    for number, (x, y) in enumerate(rows(task)):
        model.learn_one(x, y)
        if number % 250 == 249:
            model = load(dump(model), names)


TRANSFORMERS: dict[str, Callable[[], Any]] = {
    "RBFSampler": lambda: feature_extraction.RBFSampler(seed=1),
    "GaussianRandomProjector": lambda: preprocessing.GaussianRandomProjector(seed=1),
    "SparseRandomProjector": lambda: preprocessing.SparseRandomProjector(seed=1, density=0.5),
    "PolynomialExtender": lambda: feature_extraction.PolynomialExtender(),
    "SelectKBest": lambda: feature_selection.SelectKBest(stats.PearsonCorr(), k=2),
    "PoissonInclusion": lambda: feature_selection.PoissonInclusion(p=0.5, seed=1),
    "VarianceThreshold": lambda: feature_selection.VarianceThreshold(),
    "FeatureHasher": lambda: preprocessing.FeatureHasher(n_features=4, seed=1),
    "PreviousImputer": lambda: preprocessing.PreviousImputer(),
    "StatImputer": lambda: preprocessing.StatImputer(),
    "OneHotEncoder": lambda: preprocessing.OneHotEncoder(),
    "OrdinalEncoder": lambda: preprocessing.OrdinalEncoder(),
    "AdaptiveStandardScaler": lambda: preprocessing.AdaptiveStandardScaler(),
    "Binarizer": lambda: preprocessing.Binarizer(),
    "MaxAbsScaler": lambda: preprocessing.MaxAbsScaler(),
    "MinMaxScaler": lambda: preprocessing.MinMaxScaler(),
    "Normalizer": lambda: preprocessing.Normalizer(),
    "RobustScaler": lambda: preprocessing.RobustScaler(),
    "StandardScaler": lambda: preprocessing.StandardScaler(),
    "Agg": lambda: feature_extraction.Agg("long_url", "is_popular", stats.Max()),
    "TargetAgg": lambda: feature_extraction.TargetAgg("is_popular", stats.Mean()),
    "Grouper": lambda: compose.Grouper(preprocessing.StandardScaler(), by="is_popular"),
    "Prefixer": lambda: compose.Prefixer("a_"),
    "Suffixer": lambda: compose.Suffixer("_a"),
    "Discard": lambda: compose.Discard("long_url"),
    "Select": lambda: compose.Select("long_url"),
    "SelectType": lambda: compose.SelectType(float),
    "Pick": lambda: Pick(["long_url"]),
    "TargetRate": lambda: TargetRate(["is_popular"], half_life=20),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_model_with_a_transformer_comes_back_bit_for_bit_and_learns_on(name: str) -> None:
    def make() -> Any:
        return TRANSFORMERS[name]() | linear_model.LogisticRegression()

    model, names = make(), pipeline_names(make)
    load(dump(model), names)
    for x, y in rows("binary")[:60]:
        model.learn_one(x, y)
    stored = load(dump(model), names)
    for x, y in rows("binary")[60:120]:
        assert stored.predict_proba_one(x) == model.predict_proba_one(x)
        model.learn_one(x, y)
        stored.learn_one(x, y)


def test_every_transformer_that_the_page_recommends_is_stored_and_loaded() -> None:
    declared = {name for names in GROUPS["transformers"].values() for name in names.split()}
    structural = {"Pipeline", "TransformerProduct", "TransformerUnion", "Rolling", "TimeRolling"}
    assert declared - structural == set(TRANSFORMERS)


def test_the_catalogue_has_every_class_of_every_family() -> None:
    models = {
        name
        for family in FAMILIES.values()
        for names in family.models.values()
        for name in names.split()
    }
    assert {name for _, name in DECLARED} == models


def test_every_name_exists_and_is_callable() -> None:
    tables = [table for family in FAMILIES.values() for table in (family.models, family.parts)]
    for table in [*tables, *GROUPS.values()]:
        for module, names in table.items():
            for name in names.split():
                found = functools.reduce(getattr, name.split("."), importlib.import_module(module))
                assert callable(found), (module, name)


def test_rejected_models_are_in_no_family() -> None:
    assert not set(REJECTED) & allowed_names("own")
    assert all(name.startswith("_") for methods in METHODS.values() for name in methods)


REJECTIONS: dict[str, tuple[Callable[[], Any], str]] = {
    "leveraging bagging": (
        lambda: ensemble.LeveragingBaggingClassifier(tree.HoeffdingTreeClassifier()),
        r"LeveragingBaggingClassifier is rejected: its artifacts need builtins\.getattr"
        r".*Use ADWINBagging",
    ),
    "Mondrian forest": (lambda: forest.AMFClassifier(), "does not reproduce its published results"),
    "inside another model": (
        lambda: preprocessing.StandardScaler() | ensemble.BaggingClassifier(forest.AMFClassifier()),
        "AMFClassifier is rejected",
    ),
    "a regression tree with its default splitter": (
        lambda: tree.HoeffdingTreeRegressor(),
        r"too deep to be stored.*QOSplitter\(\)",
    ),
    "a regression forest with its default splitter": (
        lambda: forest.ARFRegressor(),
        r"ARFRegressor is rejected.*QOSplitter\(\)",
    ),
    "rules with their default splitter": (lambda: rules.AMRules(), "TEBSTSplitter is rejected"),
    "renaming in place": (
        lambda: compose.Renamer({"a": "b"}) | linear_model.LogisticRegression(),
        "changes the features of the event themselves",
    ),
    "trees found by address": (
        lambda: feature_extraction.RandomTreesEmbedding() | linear_model.LogisticRegression(),
        "by their address in memory",
    ),
    "a bandit": (
        lambda: model_selection.BanditClassifier(
            [linear_model.LogisticRegression(), linear_model.LogisticRegression()],
            metrics.Accuracy(),
            bandit.EpsilonGreedy(0.1, seed=1),
        ),
        "BanditClassifier is rejected",
    ),
    "a function": (
        lambda: compose.FuncTransformer(dict) | linear_model.LogisticRegression(),
        r"river\.compose\.func\.FuncTransformer, which is not known to come back",
    ),
}


@pytest.mark.parametrize("name", REJECTIONS)
def test_unsound_models_are_rejected_with_the_reason(name: str) -> None:
    make, expected = REJECTIONS[name]
    with pytest.raises(UnsoundModelError, match=expected):
        family_of(make())


def test_the_reasons_of_rejections_are_true() -> None:
    bagged = pickle.dumps(
        ensemble.LeveragingBaggingClassifier(tree.HoeffdingTreeClassifier()), protocol=5
    )
    assert b"getattr" in bagged
    deep = tree.HoeffdingTreeRegressor(grace_period=10_000)
    for number in range(2000):
        deep.learn_one({"rising": float(number)}, float(number))
    with pytest.raises(ModelError, match=r"cannot be stored.*recursion"):
        dump(deep)
    x = {"a": 1.0}
    compose.Renamer({"a": "b"}).transform_one(x)
    assert x == {"b": 1.0}
    embedding = feature_extraction.RandomTreesEmbedding(seed=1)
    embedding.learn_one({"a": 1.0})
    with pytest.raises(KeyError):
        pickle.loads(pickle.dumps(embedding)).transform_one({"a": 1.0})


def test_an_artifact_may_not_have_names_of_another_family() -> None:
    artifact = dump(CATALOGUE["binary"]["HoeffdingTreeClassifier"]())
    load(artifact, names_for("hoeffding-tree"))
    with pytest.raises(ModelError, match="which models of the family linear may not contain"):
        load(artifact, names_for("linear"))


class Doubled(linear_model.LogisticRegression):  # type: ignore[misc]  # River's bases are not checked
    """Model of a user."""


def doubled() -> Any:
    return preprocessing.StandardScaler() | Doubled()


def test_a_class_of_the_pipeline_may_use_every_family() -> None:
    names = pipeline_names(doubled)
    assert (names.family, set(names.modules)) == ("own", {__name__})
    assert isinstance(load(dump(Doubled()), names), Doubled)
    assert names.exact == allowed_names("own")


def test_a_rejected_model_is_an_error_of_the_declaration(tmp_path: Any) -> None:
    file = tmp_path / "declared.py"
    file.write_text(
        "from river import forest\nfrom tests.small_pipeline import small_pipeline\n"
        "pipeline = small_pipeline(model=lambda: forest.AMFClassifier(seed=1))\n"
    )
    with pytest.raises(PipelineError, match=r"AMFClassifier is rejected: .*Use ARFClassifier"):
        load_pipeline(str(file))


class Caller:
    """Pickles to a call of `getattr`."""

    def __init__(self, owner: Any, name: str) -> None:
        self.call = (owner, name)

    def __reduce__(self) -> Any:
        return getattr, self.call


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (linear_model.PAClassifier(), "__class__"),
        (linear_model.PAClassifier(), "learn_one"),
        (linear_model.PAClassifier, "__subclasses__"),
        (linear_model.LogisticRegression(), "_calc_tau_1"),
        ({}, "clear"),
        ("text", "format"),
    ],
)
def test_getattr_in_a_pickle_gets_listed_methods_only(owner: Any, name: str) -> None:
    with pytest.raises(ModelError, match="which no model needs"):
        load(dump(Caller(owner, name)), names_for("linear"))


def test_getattr_in_a_pickle_gets_the_method_of_a_passive_aggressive_model() -> None:
    model = load(dump(linear_model.PAClassifier(mode=2)), names_for("linear"))
    assert model.calc_tau.__func__ is linear_model.PAClassifier._calc_tau_2
