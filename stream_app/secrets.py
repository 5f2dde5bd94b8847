"""Secrets from a setting, or from the file that a setting names. Messages never contain one."""

from pathlib import Path

from pydantic import SecretStr

from stream_app.errors import SettingsError


def read_secret(value: SecretStr | None, file: Path | None, variable: str) -> str | None:
    """Return a secret, or None if neither a value nor a file is given.

    Args:
        value: secret in the setting.
        file: file with the secret; a trailing line break is ignored.
        variable: name of the setting without `_FILE`, for messages.

    Raises:
        SettingsError: both are given, or the file cannot be read or is empty.
    """
    if file is None:
        return value.get_secret_value() if value is not None else None
    if value is not None:
        raise SettingsError(f"{variable} and {variable}_FILE are both set", "Unset one of them")
    try:
        secret = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise SettingsError(
            f"{variable}_FILE cannot be read: {reason}", "Name a file that you may read"
        ) from None
    if not secret:
        raise SettingsError(f"{variable}_FILE is empty", "Write the secret into it")
    return secret
