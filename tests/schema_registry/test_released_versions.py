"""Checking against files, where there is no registry."""

import json
from pathlib import Path

import pytest

from stream_app.errors import InputError
from stream_app.schema_registry.released_versions import versions_at
from stream_app.schema_registry.subjects import check_schemas
from tests.schema_registry.schemas import ID, text
from tests.small_pipeline import EVENT_SCHEMA, LABEL_SCHEMA, small_pipeline


def test_a_folder_has_the_versions_of_each_subject(tmp_path: Path) -> None:
    (tmp_path / "1-payments.labels-value.avsc").write_text(json.dumps(LABEL_SCHEMA))
    (tmp_path / "2-others.raw-value.avsc").write_text(text(ID))
    checked = check_schemas(small_pipeline(), versions_at(tmp_path, small_pipeline()))
    assert [(one.versions, one.result) for one in checked] == [
        (0, "new"),
        (1, "unchanged"),
        *[(0, "new")] * 2,
    ]


def test_a_file_is_compared_with_the_record_of_the_same_name(tmp_path: Path) -> None:
    file = tmp_path / "old.avsc"
    file.write_text(json.dumps({**LABEL_SCHEMA, "namespace": "shop"}))
    checked = check_schemas(small_pipeline(), versions_at(file, small_pipeline()))
    assert [one.result for one in checked] == ["new", "compatible", "new", "new"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read: No such file or directory. Give a folder or a file"),
        ("{", "is not JSON"),
        ("[]", "is not an Avro record"),
        (
            text(ID, name="a.Order"),
            "has a record Order, and the pipeline none of that name. Its records are Payment, ",
        ),
        (text(ID, name="Scored"), "has a record Scored, and the pipeline several of that name"),
    ],
)
def test_a_file_that_is_nothing_to_compare_with_is_an_error(
    tmp_path: Path, content: str | None, complaint: str
) -> None:
    file = tmp_path / "old.avsc"
    if content is not None:
        file.write_text(content)
    pipeline = small_pipeline(
        schema={**EVENT_SCHEMA, "name": "Scored"}
        if content and "Scored" in content
        else EVENT_SCHEMA
    )
    with pytest.raises(InputError) as caught:
        versions_at(file, pipeline)
    assert complaint in str(caught.value)
