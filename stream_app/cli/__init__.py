"""Command line: one module per command, or per group of related commands.

    main: table of the commands, lazy imports, exit codes of errors.
    options, console, context: shared options; output; settings and pipeline of a command.
    exit_codes: documented exit codes.

Commands:
    init, offline, train: develop a pipeline: `offline` is try.
    up, worker, broker: run it, and the embedded Kafka.
    transfer: produce, consume and export records.
    status, doctor, explain: observe it.
    dead_letters, dead_letter_operations, dead_letter_options: inspect and replay failed records.
    models, model_operations, learning, keys: control its model and learning.
    monitoring, alarms: control and observe its monitoring.
    cluster: topics, rights, Avro schemas, reset.
    about: error codes and version.
"""

from stream_app.cli.main import app, main

__all__ = ["app", "main"]
