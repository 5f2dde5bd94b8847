"""Jars are fetched once, always verified, and complete or missing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stream_app.broker.broker_errors import DiskError, DownloadError
from stream_app.broker.java_runtime import JarCache, kafka_version, read_lock
from stream_app.broker.node import free_port
from tests.broker.repository import Repository, serving

FILES = {
    "a/1/a-1.jar": b"a" * 100_000,
    "b/2/b-2.jar": b"b" * 50_000,
    "c/3/c-3.jar": bytes(range(256)) * 1000,
}


@pytest.fixture
def repository() -> Iterator[Repository]:
    with serving(dict(FILES)) as repository:
        yield repository


def cache(folder: Path, repository: Repository) -> JarCache:
    return JarCache(folder, repository.url, repository.jars(), retry_seconds=(0.01, 0.01))


def test_each_jar_is_fetched_once(tmp_path: Path, repository: Repository) -> None:
    for _ in range(2):
        files = cache(tmp_path, repository).fetch()
    assert [file.read_bytes() for file in files] == list(FILES.values())
    assert sorted(repository.requests) == [(path, 0) for path in sorted(FILES)]


def test_concurrent_starts_fetch_each_jar_once(tmp_path: Path, repository: Repository) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: cache(tmp_path, repository).fetch(), range(4)))
    assert sorted(repository.requests) == [(path, 0) for path in sorted(FILES)]


@pytest.mark.parametrize(
    "damage", [b"", b"a" * 10, b"A" + b"a" * 99_999], ids=["empty", "short", "one byte"]
)
def test_a_damaged_jar_is_fetched_again(
    tmp_path: Path, repository: Repository, damage: bytes
) -> None:
    first, *_ = cache(tmp_path, repository).fetch()
    first.write_bytes(damage)
    repository.requests.clear()
    cache(tmp_path, repository).fetch()
    assert first.read_bytes() == FILES["a/1/a-1.jar"]
    assert repository.requests == [("a/1/a-1.jar", 0)]


def test_a_part_is_resumed(tmp_path: Path, repository: Repository) -> None:
    part = tmp_path / "a/1/a-1.jar.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"a" * 60_000)
    files = cache(tmp_path, repository).fetch()
    assert files[0].read_bytes() == FILES["a/1/a-1.jar"]
    assert ("a/1/a-1.jar", 60_000) in repository.requests
    assert not part.exists()


def test_a_part_is_fetched_again_if_the_server_cannot_resume(
    tmp_path: Path, repository: Repository
) -> None:
    repository.resumes = False
    part = tmp_path / "a/1/a-1.jar.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 60_000)
    assert cache(tmp_path, repository).fetch()[0].read_bytes() == FILES["a/1/a-1.jar"]


def test_a_damaged_part_is_deleted(tmp_path: Path, repository: Repository) -> None:
    part = tmp_path / "a/1/a-1.jar.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 60_000)
    assert cache(tmp_path, repository).fetch()[0].read_bytes() == FILES["a/1/a-1.jar"]


def test_an_interrupted_response_is_continued(tmp_path: Path) -> None:
    body = FILES["c/3/c-3.jar"]
    with serving({"c.jar": body}) as repository:
        repository.breaks_off_after = 1000
        assert cache(tmp_path, repository).fetch()[0].read_bytes() == body
    assert repository.requests == [("c.jar", 0), ("c.jar", 1000)]


@pytest.mark.parametrize(
    "served", [b"b" * 100_000, b"a" * 100_001, b"a" * 99_999], ids=["other", "longer", "shorter"]
)
def test_a_file_with_another_digest_is_rejected(
    tmp_path: Path, repository: Repository, served: bytes
) -> None:
    jars = cache(tmp_path, repository)
    repository.files["a/1/a-1.jar"] = served
    with pytest.raises(DownloadError, match=r"Cannot fetch http://.*/a/1/a-1\.jar"):
        jars.fetch()
    assert not (tmp_path / "a/1/a-1.jar").exists()


def test_a_missing_jar_is_requested_once(tmp_path: Path, repository: Repository) -> None:
    jars = cache(tmp_path, repository)
    del repository.files["a/1/a-1.jar"]
    with pytest.raises(DownloadError, match=r"a-1\.jar answered 404 Not Found"):
        jars.fetch()
    assert repository.requests.count(("a/1/a-1.jar", 0)) == 1


def test_no_network_is_one_line_with_a_remedy(tmp_path: Path, repository: Repository) -> None:
    jars = JarCache(
        tmp_path, f"http://127.0.0.1:{free_port()}", repository.jars(), retry_seconds=(0.01,)
    )
    with pytest.raises(DownloadError, match="Connection refused") as caught:
        jars.fetch()
    assert "\n" not in str(caught.value)
    assert "STREAM_APP_BROKER__REPOSITORY" in caught.value.remedy


def test_an_unusable_cache_folder_is_named(tmp_path: Path, repository: Repository) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match=f"Cannot use {tmp_path}/file/cache"):
        cache(tmp_path / "file/cache", repository).fetch()


def test_the_lock_pins_a_kafka_server() -> None:
    jars = read_lock()
    assert kafka_version(jars).startswith("4.1.")
    assert all(
        len(jar.sha512) == 128 and jar.size > 0 and jar.path.endswith(".jar") for jar in jars
    )
