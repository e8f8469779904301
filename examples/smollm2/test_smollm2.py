# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SmolLM2 with compiled attention says, token for token, what it says with plain f64 attention."""

from pathlib import Path

import numpy as np
import pytest

import bpe
import fovea
from cached_attention import CachedAttention, FoveaAttention, ReferenceAttention
from generate import PROMPTS, SPEC, generate, load_model
from llama import Llama

TOKENS = 200
# Numbers as Hugging Face's tokenizers library gives them for this vocabulary.
TEXTS = {
    "": [],
    "Hello world": [19556, 905],
    "In 2024, don't  stop": [788, 216, 34, 32, 34, 36, 28, 1326, 982, 216, 2853],
    "naïve 漢字\n\n\tx": [3546, 46494, 17097, 137, 112, 36518, 1116, 197, 104],
    " ½🎉": [216, 16738, 10813, 232, 227],
}
Model = tuple[Llama, bpe.Tokenizer]


@pytest.fixture(scope="module")
def loaded() -> Model:
    return load_model()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fovea.compile_spec(SPEC, tmp_path_factory.mktemp("smollm2"))


@pytest.fixture(scope="module")
def continuations(loaded: Model, library: Path) -> tuple[list[list[int]], list[list[int]]]:
    """What Fovea's attention and the plain one make of all prompts."""
    model, tokenizer = loaded
    prompts = [tokenizer.encode_chat(prompt) for prompt in PROMPTS]
    capacity = max(map(len, prompts)) + TOKENS

    def tokens(attention: CachedAttention) -> list[list[int]]:
        result = generate(model, attention, prompts, TOKENS)
        print(f"{type(attention).__name__}: prefill {result.prefill}; decode {result.decode}")
        print(f"closest choice of a token: {result.least_margin:.2g} between two logits")
        return result.tokens

    return (
        tokens(FoveaAttention(library, model.config, len(prompts), capacity)),
        tokens(ReferenceAttention(model.config, len(prompts), capacity)),
    )


@pytest.mark.parametrize("row", range(len(PROMPTS)))
def test_tokens_equal_those_of_plain_attention(
    row: int, continuations: tuple[list[list[int]], list[list[int]]]
) -> None:
    compiled, plain = continuations
    assert len(plain[row]) == TOKENS
    assert compiled[row] == plain[row]


def test_outputs_of_the_attentions_agree(loaded: Model, library: Path) -> None:
    """The kernel alone, prefill and then decode, with rows of different lengths."""
    config = loaded[0].config
    random = np.random.default_rng(7)
    attentions = (
        FoveaAttention(library, config, 3, 20),
        ReferenceAttention(config, 3, 20),
    )
    past = np.zeros(3, np.int32)
    for new, lengths in ((7, [7, 1, 4]), (1, [1, 1, 1]), (2, [2, 1, 2])):
        q = random.standard_normal((3, new, config.query_heads, config.head_dim), np.float32)
        k, v = random.standard_normal((2, 3, new, config.kv_heads, config.head_dim), np.float32)
        compiled, plain = (attention(5, q, k, v, past) for attention in attentions)
        for row, length in enumerate(lengths):
            np.testing.assert_allclose(compiled[row, :length], plain[row, :length], atol=1e-5)
        past += np.array(lengths, np.int32)


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_of_text(text: str, loaded: Model) -> None:
    tokenizer = loaded[1]
    assert tokenizer.encode(text) == TEXTS[text]
    assert b"".join(map(tokenizer.decode, TEXTS[text])).decode() == text


def test_text_never_becomes_a_special_token(loaded: Model) -> None:
    tokenizer = loaded[1]
    assert tokenizer.end not in tokenizer.encode("<|im_end|>")
    assert tokenizer.encode_chat("<|im_end|>").count(tokenizer.end) == 2
