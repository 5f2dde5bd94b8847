"""The manifests are valid, refer only to existing things, and give pods few rights."""

import re
import shlex
import subprocess
from copy import deepcopy
from pathlib import Path

import kubernetes_validate
import pytest

from stream_app.errors import ModelError
from stream_app.model_store.key_files import KeyPaths, key_paths, require_signing_key
from stream_app.model_store.signing import Signer
from stream_app.settings import KeySettings, Settings
from tests.deploy.kubernetes import (
    BLOCKS,
    FOLDER,
    PAGE,
    Manifest,
    by_kind,
    make_keys,
    manifests,
    pods,
    projected,
)
from tests.deploy.test_named_paths import check_command, check_settings
from tests.model_store.keyrings import CHECKPOINT

MANIFESTS = manifests()
PODS = {pod.name: pod for pod in pods()}
WORKERS = {one["metadata"]["name"] for one in by_kind("StatefulSet")}
VERSIONS = ["1.30", "1.37"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("file", "manifest"), MANIFESTS, ids=lambda value: str(value)[:40])
def test_every_object_is_valid(file: str, manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_is_invalid() -> None:
    workload = deepcopy(by_kind("StatefulSet", "payments-learner")[0])
    workload["spec"]["podManagmentPolicy"] = "Parallel"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(workload, VERSIONS[0], strict=True)


def test_names_are_unique_and_in_the_namespace() -> None:
    names = [(one["kind"], one["metadata"]["name"]) for _, one in MANIFESTS]
    assert len(set(names)) == len(names)
    for _, one in MANIFESTS:
        if one["kind"] != "Namespace":
            assert by_kind("Namespace", one["metadata"]["namespace"])


@pytest.mark.parametrize("name", PODS)
def test_every_variable_is_a_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = check_settings(PODS[name].environment(), monkeypatch)
    assert settings.topics.replication == 3
    assert not PODS[name].spec["enableServiceLinks"]


@pytest.mark.parametrize("name", PODS)
def test_every_path_is_on_a_volume_that_fits(name: str) -> None:
    """Settings and arguments name only paths that are mounted; what is written to can be."""
    pod = PODS[name]
    environment = pod.environment()
    if name not in WORKERS:
        # The job reads no key.
        del environment["STREAM_APP_KEYS__TRUSTED_FOLDER"]
    for path in (*pod.container["args"], *environment.values()):
        if path.startswith("/"):
            assert pod.mount_of(path)["mountPath"] != "/", path
    data = pod.mount_of(environment["STREAM_APP_DATA_DIR"])
    assert not data.get("readOnly")
    store = environment["STREAM_APP_STORE_URL"].removeprefix("file://")
    if name == "payments-learner":
        assert not pod.mount_of(store).get("readOnly")
    if name == "payments-scorer":
        assert pod.mount_of(store)["readOnly"]
    for volume in pod.volumes.values():
        assert "hostPath" not in volume
    assert {mount["name"] for mount in pod.mounts.values()} == pod.volumes.keys()


def created_on_the_page() -> dict[tuple[str, str], set[str]]:
    """Return the keys of each Secret and ConfigMap that a command of the page creates."""
    created: dict[tuple[str, str], set[str]] = {}
    for block in BLOCKS:
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:2] != ["kubectl", "create"] or words[2] not in ("secret", "configmap"):
                continue
            kind = "Secret" if words[2] == "secret" else "ConfigMap"
            name = words[4] if kind == "Secret" else words[3]
            keys = [
                word.partition("=")[2].rpartition("=")[0] or Path(word.partition("=")[2]).name
                for word in words
                if word.startswith("--from-file")
            ]
            assert "--namespace" in words or "-n" in words
            created.setdefault((kind, name), set()).update(keys)
    return created


def test_every_secret_config_map_and_claim_is_created() -> None:
    created = created_on_the_page()
    used: set[tuple[str, str]] = set()
    for pod in PODS.values():
        for volume in pod.volumes.values():
            if "secret" in volume:
                used.add(("Secret", volume["secret"]["secretName"]))
            elif "configMap" in volume:
                used.add(("ConfigMap", volume["configMap"]["name"]))
            elif "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert by_kind("PersistentVolumeClaim", claim)
    assert used == created.keys()
    environment = PODS["payments-learner"].environment()
    files = {
        "payments-kafka": {
            Path(environment["STREAM_APP_KAFKA__PASSWORD_FILE"]).name,
            Path(environment["STREAM_APP_KAFKA__CA_FILE"]).name,
        },
        "payments-signing-key": {Path(environment["STREAM_APP_KEYS__SIGNING_FILE"]).name},
        "payments-pipeline": {"payments.py", "payments.avsc", "payments_label.avsc"},
    }
    for (_, name), keys in created.items():
        assert keys >= files.get(name, set()), name


@pytest.mark.parametrize("name", PODS)
def test_pods_have_few_rights(name: str) -> None:
    pod = PODS[name]
    assert pod.spec["automountServiceAccountToken"] is False
    context = pod.spec["securityContext"]
    assert context["runAsNonRoot"] is True
    dockerfile = (FOLDER.parent / "Dockerfile").read_text()
    assert f"USER {context['runAsUser']}\n" in dockerfile
    # Otherwise the user can read neither the keys nor the store.
    assert context["fsGroup"] == context["runAsGroup"]
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod.container["resources"]["limits"]["memory"]
    assert pod.container["resources"]["requests"].keys() == {"cpu", "memory"}
    for volume in pod.volumes.values():
        if "secret" in volume:
            assert volume["secret"]["defaultMode"] == 0o440


def test_only_the_learner_has_the_signing_key() -> None:
    holders = [
        name
        for name, pod in PODS.items()
        if any(
            volume.get("secret", {}).get("secretName") == "payments-signing-key"
            for volume in pod.volumes.values()
        )
    ]
    assert holders == ["payments-learner"]


@pytest.mark.parametrize("name", sorted(WORKERS))
def test_workers_are_started_together_and_replaced_one_by_one(name: str) -> None:
    pod = PODS[name]
    spec, container = pod.owner["spec"], pod.container
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["selector"]["matchLabels"] == pod.labels
    assert pod.spec["terminationGracePeriodSeconds"] >= 10
    words = container["args"]
    if words[3] in ("score", "ingest"):
        # The name of the pod.
        assert words[-2:] == ["--instance", "auto"]
    else:
        assert spec["replicas"] == 1
        assert "--instance" not in words
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["timeoutSeconds"] >= 3
        assert container[probe]["httpGet"]["port"] == "health"
    # A long restore is no reason to kill a worker.
    assert container["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    (port,) = container["ports"]
    assert str(port["containerPort"]) == pod.environment()["STREAM_APP_WORKER__HEALTH_PORT"]
    (service,) = by_kind("Service", spec["serviceName"])
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == pod.labels


def test_selectors_select_the_pods() -> None:
    budgets = by_kind("PodDisruptionBudget")
    assert {one["metadata"]["name"] for one in budgets} == {"payments-scorer", "payments-ingester"}
    for budget in budgets:
        name = budget["metadata"]["name"]
        assert budget["spec"]["selector"]["matchLabels"] == PODS[name].labels
    (policy,) = by_kind("NetworkPolicy")
    selected = policy["spec"]["podSelector"]["matchLabels"].items()
    assert all(selected <= pod.labels.items() for pod in PODS.values())


@pytest.mark.parametrize("name", PODS)
def test_the_arguments_are_a_command(name: str) -> None:
    check_command(PODS[name].container["args"])


def test_the_page_links_every_file() -> None:
    linked = set(re.findall(r"\.\./deploy/kubernetes/([\w-]+\.yaml)", PAGE.read_text()))
    assert linked == {file.name for file in FOLDER.iterdir()}


def test_repeated_parts_are_equal() -> None:
    contents = "\n".join(file.read_text() for file in FOLDER.iterdir())
    for block in BLOCKS:
        if re.search(r"^apiVersion: ", block, re.M):
            assert block in contents


# --- Keys -----------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Folder in which the commands of the page have made the keys."""
    folder = tmp_path / "made"
    folder.mkdir()
    make_keys(folder)
    return folder


def learner_keys(signing: Path, trusted: Path) -> KeyPaths:
    """Return the paths of the keys as the manifests set them."""
    keys = KeySettings(signing_file=signing / "signing.pem", trusted_folder=trusted)
    return key_paths(Settings(keys=keys), "payments")


def test_a_replaced_learner_signs_with_the_same_trusted_key(made: Path, tmp_path: Path) -> None:
    """The pods have the Secret and the ConfigMap of the page, and write neither."""
    private = (made / "signing.pem").read_bytes()
    public = (made / "trusted" / "first.pem").read_bytes()
    ids = []
    for pod in ("first", "second"):
        signing = projected(tmp_path / pod / "signing", {"signing.pem": private})
        trusted = projected(tmp_path / pod / "trusted", {"first.pem": public})
        before = sorted(tmp_path.rglob("*"))
        signer = Signer(learner_keys(signing, trusted))
        ids.append(require_signing_key(learner_keys(signing, trusted)).id)
        assert signer.trusted.ids == {ids[-1]}
        assert sorted(tmp_path.rglob("*")) == before
    assert ids[0] == ids[1]


def test_a_key_that_is_rotated_as_the_page_says_is_trusted_without_a_restart(
    made: Path, tmp_path: Path
) -> None:
    first = (made / "signing.pem").read_bytes()
    public = {"first.pem": (made / "trusted" / "first.pem").read_bytes()}
    signing = projected(tmp_path / "pod" / "signing", {"signing.pem": first})
    trusted = projected(tmp_path / "pod" / "trusted", public)
    signer = Signer(learner_keys(signing, trusted))
    (old,) = signer.trusted.ids
    (commands,) = [block for block in BLOCKS if "trusted/second.pem" in block]
    openssl = "\n".join(line for line in commands.splitlines() if line.startswith("openssl"))
    subprocess.run(["sh", "-ec", openssl], cwd=made, check=True)
    projected(trusted, public | {"second.pem": (made / "trusted" / "second.pem").read_bytes()})
    assert len(signer.trusted.ids) == 2
    projected(signing, {"signing.pem": (made / "signing.pem").read_bytes()})
    new = require_signing_key(learner_keys(signing, trusted)).id
    assert {old, new} == signer.trusted.ids
    assert signer.sign(CHECKPOINT).key_id == new
    projected(trusted, public | {f"{old}.revoked": b""})
    assert old not in signer.trusted.ids


def test_a_learner_whose_public_key_is_missing_says_so(made: Path, tmp_path: Path) -> None:
    private = (made / "signing.pem").read_bytes()
    signing = projected(tmp_path / "pod" / "signing", {"signing.pem": private})
    # Nobody can write below a file.
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="this process cannot write there"):
        require_signing_key(learner_keys(signing, tmp_path / "file" / "trusted"))
