"""Reads Kafka records: bytes in, events and labels or a `Failure` out.

Files, in the order of the flow:
    record_reader: the stages of reading an event or a label; the pipeline's own functions.
    selection: forwarded records of sources: fields as the pipeline declares them; `SourceIntake`.
    direct_reading: what happens to records of a source that scorers read without `ingest`.
    replayed_selection: what happens to dead letters of sources that are read again.
    source_values: paths, conversions of times, parts of the Kafka record.
    envelopes: Debezium's and Connect's envelopes.
    selected_decoding: fast path of selection for JSON.
    identity: texts of the key, of the event id, and of both.
    record_identity: identity in a record that may be invalid otherwise, to look events up.
    typed_decoding: fast path of the next two for JSON.
    decoding: bytes to fields, from JSON or framed Avro.
    validator, validator_checks: validation against an Avro schema.
    label_values: the values of a label that mean true and false.
    cleaning_steps: the pipeline's cleaning, and its fast path.
    event_time: times in Unix milliseconds, and suspected other units.
    avro_schema: traversal of Avro schemas, shared by the compilers.
    avro_timestamps: units of times, and integers with the unit of an Avro timestamp.
    avro_decimals: values of Avro decimals.
    avro_reader, avro_writer: binary Avro to fields, and back.
"""
