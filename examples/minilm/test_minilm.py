# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sentence similarities with compiled attention are those with plain f64 attention."""

from pathlib import Path

import numpy as np
import pytest

import fovea
import wordpiece
from encoder import Encoder
from padded_attention import FoveaAttention, reference_attention
from similarity import SENTENCES, SPEC, embed, load_model

Model = tuple[Encoder, wordpiece.Tokenizer]
# Numbers as Hugging Face's tokenizers library gives them for this model.
TEXTS = {
    "": [101, 102],
    "Hello, World!": [101, 7592, 1010, 2088, 999, 102],
    "unbelievably naïve": [101, 4895, 8671, 2666, 3567, 6321, 15743, 102],
    "漢字 don't": [101, 1904, 100, 2123, 1005, 1056, 102],
    "a\u200bb\tc " + "x" * 101: [101, 11113, 1039, 100, 102],
}


@pytest.fixture(scope="module")
def loaded() -> Model:
    return load_model()


@pytest.fixture(scope="module")
def attention(tmp_path_factory: pytest.TempPathFactory) -> FoveaAttention:
    return FoveaAttention(fovea.compile_spec(SPEC, tmp_path_factory.mktemp("minilm")))


def test_similarities_equal_those_of_plain_attention(
    loaded: Model, attention: FoveaAttention
) -> None:
    compiled = embed(*loaded, list(SENTENCES), attention)
    plain = embed(*loaded, list(SENTENCES), reference_attention)
    np.testing.assert_allclose(compiled @ compiled.T, plain @ plain.T, rtol=0, atol=1e-5)


def test_related_sentences_are_the_similar_ones(loaded: Model, attention: FoveaAttention) -> None:
    vectors = embed(*loaded, list(SENTENCES), attention)
    similarities = vectors @ vectors.T
    assert similarities[0, 1] > 0.5 > np.abs(similarities[0, 2:]).max()
    assert similarities[4, 5] > 0.5 > np.abs(similarities[4, [0, 1, 2, 3, 6]]).max()


def test_padding_changes_nothing(loaded: Model, attention: FoveaAttention) -> None:
    together = embed(*loaded, list(SENTENCES), attention)
    for number, sentence in enumerate(SENTENCES):
        alone = embed(*loaded, [sentence], attention)
        np.testing.assert_allclose(together[number], alone[0], rtol=0, atol=1e-5)


def test_what_lies_in_the_padding_is_not_read(attention: FoveaAttention) -> None:
    random = np.random.default_rng(3)
    q, k, v = random.standard_normal((3, 3, 9, 12, 32), np.float32)
    lengths = np.array([9, 1, 4], np.int32)
    plain = reference_attention(q, k, v, lengths)
    for row, length in enumerate(lengths):
        k[row, length:] = np.nan
        v[row, length:] = np.inf
    np.testing.assert_allclose(attention(q, k, v, lengths), plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_tokens_of_text(text: str, loaded: Model) -> None:
    assert loaded[1].encode(text, 256) == TEXTS[text]


def test_long_texts_are_cut(loaded: Model) -> None:
    tokens = loaded[1].encode("word " * 300, 256)
    assert len(tokens) == 256
    assert tokens[-1] == 102


def test_a_spec_and_its_library_are_all_that_is_needed(tmp_path: Path) -> None:
    library = fovea.compile_spec(SPEC, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} >= {".so", ".json"}
    assert fovea.load(library).name == "minilm"
