"""Records between files and the topics of a pipeline.

- `json_lines`: lines of an input file, and JSON lines as rows.
- `csv_records`: records of a CSV file, of which a stray quote costs one line.
- `csv_files`: CSV files as rows.
- `input_files`: rows of an input file of any format, Avro included.
- `produce`: sending of rows.
- `completeness_sending`: sending of completeness records.
- `consume`: selection and consumption of records.
- `record_rendering`: records as JSON or text lines.
- `progress`: progress on standard error.
"""
