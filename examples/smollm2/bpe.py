# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The tokenizer of a GGUF file: byte-level BPE with the `smollm` pre-tokenizer.

From text to token numbers and back. Special tokens never come out of `encode`, whatever the text
says; the chat format, which needs them, is put together in `encode_chat`.
"""

from functools import lru_cache
from itertools import pairwise

import regex
from gguf import GGUFReader

# Digits stand alone; then GPT-2's split into words, runs of punctuation and white space.
_DIGIT = regex.compile(r"(\p{N})")
_WORD = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")

_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def _byte_alphabet() -> list[str]:
    """The printable character that stands for each byte in the vocabulary (GPT-2's table)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


class Tokenizer:
    def __init__(self, reader: GGUFReader) -> None:
        pre_tokenizer = reader.fields["tokenizer.ggml.pre"].contents()
        if pre_tokenizer != "smollm":
            raise ValueError(f"pre-tokenizer '{pre_tokenizer}' is not the one implemented here")
        tokens = reader.fields["tokenizer.ggml.tokens"].contents()
        merges = reader.fields["tokenizer.ggml.merges"].contents()
        self._number = {token: number for number, token in enumerate(tokens)}
        self._rank = {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}
        self._alphabet = _byte_alphabet()
        byte_of = {character: byte for byte, character in enumerate(self._alphabet)}
        self._bytes = [
            bytes(byte_of[character] for character in token)
            if all(character in byte_of for character in token)
            else token.encode()
            for token in tokens
        ]
        self._start = self._number["<|im_start|>"]
        self.end = self._number["<|im_end|>"]
        self._word_tokens = lru_cache(maxsize=65536)(self._merge)

    def encode(self, text: str) -> list[int]:
        return [
            token
            for piece in _DIGIT.split(text)
            for word in _WORD.findall(piece)
            for token in self._word_tokens(word)
        ]

    def encode_chat(self, message: str) -> list[int]:
        """One user's message to the assistant, up to where the assistant's answer begins."""
        newline = self.encode("\n")
        return [
            *(self._start, *self.encode(f"system\n{_SYSTEM}"), self.end, *newline),
            *(self._start, *self.encode(f"user\n{message}"), self.end, *newline),
            *(self._start, *self.encode("assistant\n")),
        ]

    def decode(self, token: int) -> bytes:
        """The bytes of a token; a character of the text may span several tokens."""
        return self._bytes[token]

    def _merge(self, word: str) -> tuple[int, ...]:
        parts = [self._alphabet[byte] for byte in word.encode()]
        never = len(self._rank)
        while len(parts) > 1:
            ranks = [self._rank.get(pair, never) for pair in pairwise(parts)]
            best = min(ranks)
            if best == never:
                break
            at = ranks.index(best)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return tuple(self._number[part] for part in parts)
