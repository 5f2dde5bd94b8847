"""Sample of a file of records, of which no pipeline is known yet."""

from typing import NamedTuple

from stream_app.errors import InputError
from stream_app.starter.column_profiles import Column, SampledRecord, profile_columns
from stream_app.transfer.input_files import Format, infer_format, read_records
from stream_app.transfer.json_lines import open_lines

_SAMPLED = 20_000
_MIN_RECORDS = 10


class TableSample(NamedTuple):
    """Columns of a sample.

    Attributes:
        columns: columns, in the order of the file.
        records: number of records in the sample.
        total: number of records in the file.
    """

    columns: list[Column]
    records: int
    total: int

    @property
    def is_complete(self) -> bool:
        """True if the sample is the whole file."""
        return self.records == self.total


def read_sample(path: str, file_format: Format | None = None) -> TableSample:
    """Read a file, and keep up to 20,000 records that are spread evenly over it, in order.

    Raises:
        InputError: the file cannot be read, or has fewer than 10 records.
    """
    chosen = file_format or infer_format(path)
    kept: list[SampledRecord] = []
    stride, total = 1, 0
    with open_lines(path) as lines:
        for fields in read_records(lines, chosen):
            if total % stride == 0:
                kept.append(SampledRecord(fields))
                if len(kept) > _SAMPLED:
                    kept, stride = kept[::2], stride * 2
            total += 1
    if total < _MIN_RECORDS:
        raise InputError(
            f"{path} has {total} records, too few to guess from",
            f"Give a file with at least {_MIN_RECORDS} records",
        )
    return TableSample(profile_columns(kept, text=chosen == "csv"), len(kept), total)
