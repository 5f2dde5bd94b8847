"""Publishes a trained model: artifact, signed manifest, and control record.

The offset of the control record is the number of the version.
"""

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.evaluation.thresholds import thresholds_as_dict
from stream_app.core.learning.control_commands import Control
from stream_app.core.monitoring.audit_entry import AuditEntry
from stream_app.formatting import iso_time
from stream_app.model_admin.decisions import change_version
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_admin.version_checks import VersionLoader, evaluate_version, newest_examples
from stream_app.model_store.artifacts import Artifact
from stream_app.model_store.manifest import (
    Manifest,
    model_parameters,
    model_seed,
    runtime,
    version_key,
)
from stream_app.model_store.model_registry import ModelRegistry, Reason
from stream_app.model_store.pickling import dump, load, pipeline_names
from stream_app.model_store.signing import open_signer
from stream_app.offline.training import TrainedModel
from stream_app.pipeline import Pipeline
from stream_app.records import Output
from stream_app.settings import Settings


class TrainedModelPublisher:
    """Publishes trained versions of one pipeline.

    Raises:
        SettingsError: the artifact store is not configured.
        StoreError: the artifact store cannot be used.
        ModelError: there is no signing key.
        KafkaUnavailableError, TopicsError, AccessError: as `ModelAdmin`.
    """

    def __init__(self, settings: Settings, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._admin = ModelAdmin(settings, pipeline.name)
        self._names = pipeline_names(pipeline.model, pipeline.features)
        self._loader = VersionLoader(settings, pipeline)
        self._store = self._loader.store
        self._signer = open_signer(settings, pipeline.name)

    def publish(self, trained: TrainedModel, why: Reason) -> Manifest:
        """Publish a version, which is served only once it is promoted, and return its manifest.

        Args:
            trained: model and measurements.
            why: reason for the audit.

        Raises:
            ModelError: no worker could load the model.
            StoreError: the artifact store is unavailable.
            FencedError: a concurrent decision was made.
            KafkaUnavailableError: the control record could not be written.
        """
        data = dump(trained.learner.learned.model)
        load(data, self._names)
        artifact = self._store.put(data)
        made: list[Manifest] = []

        def make(now: ModelRegistry, number: int) -> list[Output]:
            manifest = self._signer.sign(
                self._manifest(trained, artifact, number, now.decision, why)
            )
            made.append(manifest)
            return [
                Output("models", 0, version_key(number).encode(), manifest.encode()),
                self._audit_entry(trained, number, why),
            ]

        self._admin.decide_with_offset(lambda now: _control(now.decision, why), make)
        return made[-1]

    def promote(self, manifest: Manifest, why: Reason) -> None:
        """Promote a version once it has scored the newest examples; raises as `change_version`."""
        registry = self._admin.registry(stable=True)
        evaluate_version(
            self._loader.load(manifest),
            newest_examples(self._admin, self._loader.fingerprint, task_of(self._pipeline)),
        )
        change_version(self._admin, registry, "promote", manifest, why)

    def _manifest(
        self, trained: TrainedModel, artifact: Artifact, number: int, decision: int, why: Reason
    ) -> Manifest:
        learner, model = trained.learner, self._pipeline.model()
        rules = learner.control.rules
        return Manifest(
            name=self._pipeline.name,
            version=number,
            parent=None,
            created_at=iso_time(why.at),
            sha256=artifact.sha256,
            size=artifact.size,
            fingerprint=learner.fingerprint,
            learned=learner.learned.examples,
            learned_through=learner.learned.max_label_time,
            metrics=trained.metrics,
            **runtime()._asdict(),
            created_by=why.who,
            origin="trained",
            family=self._names.family,
            features=trained.features,
            parameters=model_parameters(model),
            seed=model_seed(model),
            window=trained.window,
            offline_metrics=trained.metrics,
            profile=trained.profile,
            inputs=list(trained.inputs),
            # It has learned no example at all of a paused source.
            paused_sources=dict.fromkeys(rules.paused_sources, 0),
            exclusions=[one._asdict() for one in rules.exclusions],
            last_exclusion=rules.last_exclusion,
            thresholds=thresholds_as_dict(self._pipeline.thresholds),
            decision=decision,
            prior=learner.evaluator.task.prior(learner.evaluator.baseline),
        )

    def _audit_entry(self, trained: TrainedModel, number: int, why: Reason) -> Output:
        return AuditEntry(
            "train",
            at=why.at,
            who=why.who,
            what=f"version {number}",
            why=why.why,
            identity=f"train-{number}",
            counts={"learned": trained.learner.learned.examples, "measured": trained.window["n"]},
        ).output(self._pipeline.name)


def _control(decision: int, why: Reason) -> Output:
    """Return the control record; it has no version in it, since its offset is the version."""
    return Control("trained", None, decision, iso_time(why.at), why.who, why.why).output()
