# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""BERT's tokenizer for uncased text: words and punctuation, cut into WordPiece's longest matches.

From text to token numbers, by the vocabulary file that comes with the model.
"""

import unicodedata
from pathlib import Path

_LONGEST_WORD = 100

# The blocks of Chinese characters, each of which is a word of its own.
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


def _is_ideograph(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _IDEOGRAPHS)


def _is_punctuation(character: str) -> bool:
    """ASCII's symbols count as punctuation too."""
    ascii_symbol = "!" <= character <= "~" and not character.isalnum()
    return ascii_symbol or unicodedata.category(character).startswith("P")


def _clean(text: str) -> str:
    """White space becomes spaces; control characters, NUL and U+FFFD go."""
    cleaned = []
    for character in text:
        category = unicodedata.category(character)
        if character in "\t\n\r" or (character.isspace() and category != "Cc"):
            cleaned.append(" ")
        elif not category.startswith("C") and character != "\ufffd":
            cleaned.append(f" {character} " if _is_ideograph(character) else character)
    return "".join(cleaned)


def _words(text: str) -> list[str]:
    decomposed = unicodedata.normalize("NFD", _clean(text))
    plain = "".join(c.lower() for c in decomposed if unicodedata.category(c) != "Mn")
    return "".join(f" {c} " if _is_punctuation(c) else c for c in plain).split()


class Tokenizer:
    def __init__(self, vocabulary: Path) -> None:
        tokens = vocabulary.read_text(encoding="utf-8").splitlines()
        self._number = {token: number for number, token in enumerate(tokens)}
        self._unknown = self._number["[UNK]"]
        self._start = self._number["[CLS]"]
        self._end = self._number["[SEP]"]

    def encode(self, text: str, longest: int) -> list[int]:
        """[CLS] tokens [SEP], cut to `longest` tokens altogether."""
        pieces = [piece for word in _words(text) for piece in self._pieces(word)]
        return [self._start, *pieces[: longest - 2], self._end]

    def _pieces(self, word: str) -> list[int]:
        if len(word) > _LONGEST_WORD:
            return [self._unknown]
        pieces: list[int] = []
        rest, prefix = word, ""
        while rest:
            lengths = range(len(rest), 0, -1)
            length = next((n for n in lengths if prefix + rest[:n] in self._number), 0)
            if not length:
                return [self._unknown]
            pieces.append(self._number[prefix + rest[:length]])
            rest, prefix = rest[length:], "##"
        return pieces
