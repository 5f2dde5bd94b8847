"""Exit codes of all commands, from the classes of `stream_app.errors`."""

from stream_app.errors import StreamAppError

UNEXPECTED = 70
INTERRUPTED = 130

_GENERAL = (
    (0, "Done."),
    (1, "Some records were not read or delivered, or `broker status` found no running broker."),
    (2, "The command line is wrong."),
    (UNEXPECTED, "An unexpected error: a bug. The line names the file that has the traceback."),
    (INTERRUPTED, "Stopped by Ctrl-C."),
)


def exit_codes() -> list[tuple[int, str]]:
    """Return every exit code with its meaning, in ascending order."""
    expected = [
        (error.exit_code, (error.__doc__ or "").splitlines()[0])
        for error in StreamAppError.__subclasses__()
    ]
    return sorted([*_GENERAL, *expected])


def epilog() -> str:
    """Return the table of exit codes for `stream-app --help`."""
    rows = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in exit_codes())
    return f"\b\nExit codes:\n{rows}\n\n\b\nExample: stream-app up flights --scorers 2"
