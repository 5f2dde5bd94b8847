"""Pipelines that `stream-app init` writes: a starter, or one for a table or for topics.

Files:
    starter: writes the templates in `files/`, or the pipeline of a table, into a folder.
    table_sample: reads a sample of a table.
    column_profiles: types, times and missing values of the columns of a sample.
    role_guesses: id, time, label and label time among the columns.
    leakage: columns that are known only with the label.
    pipeline_guess: the whole pipeline, each part with its reason.
    generated_pipeline: text of the guessed pipeline.
    generated_schemas: text of its schemas.
    guess_rendering: the guesses as lines of a report.
    topic_starter: writes the pipeline of topics into a folder.
    topic_sample: reads a sample of a topic.
    key_texts: texts of the keys of its records.
    topic_columns: fields of a topic's records as columns, with where each comes from.
    record_kinds: events among other records of a topic.
    label_links: the event's id in labels.
    label_guess: the labels of a topic.
    topic_guess: the pipeline of topics, with the rules for tables.
    generated_sources: text of the guessed sources.
    topic_rendering: the guesses about topics as lines of a report.
"""
