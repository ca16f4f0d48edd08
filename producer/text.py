"""Decodes text from files, pipes and arguments: Unicode, with or without a byte-order mark."""

import codecs
import os
from typing import Final

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class UnreadableText(ValueError):
    """The bytes are not valid text; the message says why."""


def decoded(raw: bytes) -> str:
    """Decode a file or pipe, without its byte-order mark and with line feeds as line ends.

    Raises:
        UnreadableText: the bytes are not Unicode, or not in the encoding of their mark.
    """
    mark, encoding = next(((mark, name) for mark, name in _MARKS if raw.startswith(mark)), (b"", "utf-8"))
    try:
        text = raw[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        where = len(mark) + error.start
        raise UnreadableText(f"it is not {encoding.upper()} (byte {where + 1}); save it as UTF-8") from None
    if "\0" in text:
        raise UnreadableText("it holds zero bytes, as UTF-16 without a mark does; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def text_of(argument: str) -> str:
    """Return a command's argument as text; bytes that the locale could not decode are read as UTF-8.

    Raises:
        UnreadableText: the bytes are not UTF-8.
    """
    if any("\udc80" <= character <= "\udcff" for character in argument):  # how Python keeps such bytes
        return decoded(os.fsencode(argument))
    return argument.removeprefix("\ufeff")
