"""Pipelines that `stream-app init` writes: a starter, or one for a table.

Files:
    starter: writes the templates in `files/`, or the pipeline of a table, into a folder.
    table_sample: reads a sample of a table.
    column_profiles: types, times and missing values of the columns of a sample.
    role_guesses: id, time, label and label time among the columns.
    leakage: columns that are known only with the label.
    pipeline_guess: the whole pipeline, each part with its reason.
    generated_pipeline: text of the guessed pipeline and its schemas.
"""
