"""Headers of the program are texts; those of producers may be any bytes."""

from stream_app.headers import ERROR_CODE, ERROR_MESSAGE, REPLAY_ID, own_header_texts


def test_only_headers_of_the_program_are_decoded() -> None:
    foreign = [("x", b"\xff"), ("error-code", b"\xed\xa0\x80"), ("", None), ("x", b"text")]
    ours = [(ERROR_CODE, b"late"), (ERROR_MESSAGE, "é".encode())]
    assert own_header_texts([*foreign, *ours]) == {ERROR_CODE: "late", ERROR_MESSAGE: "é"}


def test_a_header_that_another_program_wrote_under_our_names_is_a_text() -> None:
    assert own_header_texts([(ERROR_CODE, b"a\xff"), (REPLAY_ID, None)]) == {
        ERROR_CODE: "a\N{REPLACEMENT CHARACTER}",
        REPLAY_ID: "",
    }
