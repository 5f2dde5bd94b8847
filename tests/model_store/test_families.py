"""Every family is as documented: what its artifacts name, that they come back, and what is refused and why."""

import functools
import importlib
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from river import (
    bandit,
    compose,
    ensemble,
    feature_extraction,
    forest,
    linear_model,
    metrics,
    model_selection,
    preprocessing,
    rules,
    tree,
)

from benchmarks.catalogue import CATALOGUE, ask, rows
from stream_app.errors import ModelError, PipelineError
from stream_app.loading import load_pipeline
from stream_app.model_store.families import (
    UnsoundModelError,
    family_of,
    named,
    names_of,
    pipeline_names,
)
from stream_app.model_store.pickling import Names, dump, load
from stream_app.model_store.river_names import FAMILIES, GROUPS, METHODS, REFUSED

DECLARED = [(task, name) for task, models in CATALOGUE.items() for name in models]
GETATTR = ("builtins", "getattr")


def names_for(family: str) -> Names:
    return Names(family, names_of(family))


@pytest.mark.parametrize(("task", "name"), DECLARED, ids=[name for _, name in DECLARED])
def test_an_artifact_names_what_its_family_may_and_comes_back_bit_for_bit(
    task: str, name: str
) -> None:
    model = CATALOGUE[task][name]()
    names = names_for(family_of(model))
    for x, y in rows(task)[:120]:
        model.learn_one(x, y)
    assert named(model) - {GETATTR} <= names.exact
    copy = load(dump(model), names)
    for x, y in rows(task)[120:150]:
        assert repr(ask(name, copy, x)) == repr(ask(name, model, x))
        model.learn_one(x, y)
        copy.learn_one(x, y)
    assert [repr(ask(name, copy, x)) for x, _ in rows(task)[:20]] == [
        repr(ask(name, model, x)) for x, _ in rows(task)[:20]
    ]


@pytest.mark.faults
@pytest.mark.parametrize(("task", "name"), DECLARED, ids=[name for _, name in DECLARED])
def test_what_an_artifact_names_is_complete_after_many_examples(task: str, name: str) -> None:
    model = CATALOGUE[task][name]()
    names = names_for(family_of(model))
    for number, (x, y) in enumerate(rows(task)):
        model.learn_one(x, y)
        if number % 250 == 249:
            model = load(dump(model), names)


def test_there_is_an_example_of_every_class() -> None:
    models = {
        name
        for family in FAMILIES.values()
        for names in family.models.values()
        for name in names.split()
    }
    assert {name for _, name in DECLARED} == models


def test_every_name_is_there_and_none_is_a_module() -> None:
    tables = [table for family in FAMILIES.values() for table in (family.models, family.parts)]
    for table in [*tables, *GROUPS.values()]:
        for module, names in table.items():
            for name in names.split():
                found = functools.reduce(getattr, name.split("."), importlib.import_module(module))
                assert callable(found), (module, name)


def test_what_is_refused_is_in_no_family() -> None:
    assert not set(REFUSED) & names_of("own")
    assert all(name.startswith("_") for methods in METHODS.values() for name in methods)


REFUSALS: dict[str, tuple[Callable[[], Any], str]] = {
    "leveraging bagging": (
        lambda: ensemble.LeveragingBaggingClassifier(tree.HoeffdingTreeClassifier()),
        r"LeveragingBaggingClassifier is refused: its artifacts need builtins\.getattr.*Use ADWINBagging",
    ),
    "Mondrian forest": (lambda: forest.AMFClassifier(), "does not reproduce its published results"),
    "deep inside": (
        lambda: preprocessing.StandardScaler() | ensemble.BaggingClassifier(forest.AMFClassifier()),
        "AMFClassifier is refused",
    ),
    "a regression tree as it comes": (
        lambda: tree.HoeffdingTreeRegressor(),
        r"cannot be stored.*QOSplitter\(\)",
    ),
    "a regression forest as it comes": (
        lambda: forest.ARFRegressor(),
        r"ARFRegressor is refused.*QOSplitter\(\)",
    ),
    "rules as they come": (lambda: rules.AMRules(), "TEBSTSplitter is refused"),
    "renaming in place": (
        lambda: compose.Renamer({"a": "b"}) | linear_model.LogisticRegression(),
        "changes the features of the event themselves",
    ),
    "trees by address": (
        lambda: feature_extraction.RandomTreesEmbedding() | linear_model.LogisticRegression(),
        "by their address in memory",
    ),
    "a bandit": (
        lambda: model_selection.BanditClassifier(
            [linear_model.LogisticRegression(), linear_model.LogisticRegression()],
            metrics.Accuracy(),
            bandit.EpsilonGreedy(0.1, seed=1),
        ),
        "BanditClassifier is refused",
    ),
    "a function": (
        lambda: compose.FuncTransformer(dict) | linear_model.LogisticRegression(),
        r"river\.compose\.func\.FuncTransformer, which is not known to come back",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_unsafe_or_unsound_is_refused_with_the_reason(name: str) -> None:
    make, expected = REFUSALS[name]
    with pytest.raises(UnsoundModelError, match=expected):
        family_of(make())


def test_the_reasons_hold() -> None:
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


def test_families_may_not_name_what_others_do() -> None:
    artifact = dump(CATALOGUE["binary"]["HoeffdingTreeClassifier"]())
    load(artifact, names_for("hoeffding-tree"))
    with pytest.raises(ModelError, match="which models of the family linear may not contain"):
        load(artifact, names_for("linear"))


class Doubled(linear_model.LogisticRegression):  # type: ignore[misc]  # River's bases are not checked
    """A user's own model."""


def doubled() -> Any:
    return preprocessing.StandardScaler() | Doubled()


def test_a_class_of_ones_own_may_name_itself_and_every_family() -> None:
    names = pipeline_names(doubled)
    assert (names.family, set(names.modules)) == ("own", {__name__})
    assert isinstance(load(dump(Doubled()), names), Doubled)
    assert names.exact == names_of("own")


def test_a_refused_model_is_a_mistake_of_the_declaration(tmp_path: Any) -> None:
    file = tmp_path / "declared.py"
    file.write_text(
        "from river import forest\nfrom tests.small_pipeline import small_pipeline\n"
        "pipeline = small_pipeline(model=lambda: forest.AMFClassifier(seed=1))\n"
    )
    with pytest.raises(PipelineError, match=r"AMFClassifier is refused: .*Use ARFClassifier"):
        load_pipeline(str(file))


class Caller:
    """Pickles to the call of getattr."""

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
def test_getattr_gets_a_few_methods_and_nothing_else(owner: Any, name: str) -> None:
    with pytest.raises(ModelError, match="which no model needs"):
        load(dump(Caller(owner, name)), names_for("linear"))


def test_getattr_gets_the_method_of_a_passive_aggressive_model() -> None:
    model = load(dump(linear_model.PAClassifier(mode=2)), names_for("linear"))
    assert model.calc_tau.__func__ is linear_model.PAClassifier._calc_tau_2
