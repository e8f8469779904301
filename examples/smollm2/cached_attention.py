# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The two attentions of this example, alike from outside: Fovea's and a plain one to compare with.

Each takes the new tokens' queries, keys and values before rotation, and how many tokens each row of
the batch already has; keeps the key and value cache of every layer; and returns what the queries
attend to. Rows may hold different numbers of tokens: what a shorter row of a prefill is padded with
lands in the cache behind its last token, where no query looks before a later call overwrites it.
"""

import os
from abc import ABC, abstractmethod

import numpy as np

import fovea
from llama import Config


class CachedAttention(ABC):
    def __init__(self, config: Config, batch: int, capacity: int, dtype: type) -> None:
        shape = (config.layers, batch, capacity, config.kv_heads, config.head_dim)
        self._k_cache = np.zeros(shape, dtype)
        self._v_cache = np.zeros(shape, dtype)

    @abstractmethod
    def __call__(
        self, layer: int, q: np.ndarray, k: np.ndarray, v: np.ndarray, past: np.ndarray
    ) -> np.ndarray:
        """q [B, M, query heads, D], k and v [B, M, KV heads, D], past i32[B] -> like q."""


class FoveaAttention(CachedAttention):
    """The compiled kernel: rotation, cache append and attention in one call per layer."""

    def __init__(
        self,
        library: str | os.PathLike[str],
        config: Config,
        batch: int,
        capacity: int,
        threads: int = 0,
    ) -> None:
        super().__init__(config, batch, capacity, np.float32)
        self._kernel = fovea.load(library)
        self._context = self._kernel.create_context(threads)

    def __call__(
        self, layer: int, q: np.ndarray, k: np.ndarray, v: np.ndarray, past: np.ndarray
    ) -> np.ndarray:
        o = np.empty(q.shape, np.float32)
        self._kernel(
            q=q,
            k=k,
            v=v,
            k_cache=self._k_cache[layer],
            v_cache=self._v_cache[layer],
            past=past,
            o=o,
            context=self._context,
        )
        return o


class ReferenceAttention(CachedAttention):
    """The textbook's formulas in f64, one row of the batch after the other."""

    def __init__(self, config: Config, batch: int, capacity: int) -> None:
        super().__init__(config, batch, capacity, np.float64)
        self._config = config

    def __call__(
        self, layer: int, q: np.ndarray, k: np.ndarray, v: np.ndarray, past: np.ndarray
    ) -> np.ndarray:
        o = np.empty(q.shape, np.float32)
        for row, start in enumerate(past):
            k_cache = self._k_cache[layer, row]
            v_cache = self._v_cache[layer, row]
            positions = np.arange(start, start + q.shape[1])
            k_cache[positions] = self._rotate(k[row], positions)
            v_cache[positions] = v[row]
            end = positions[-1] + 1
            o[row] = self._attend(
                self._rotate(q[row], positions), k_cache[:end], v_cache[:end], positions
            )
        return o

    def _rotate(self, x: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """RoPE on pairs of neighbours: x [M, heads, D]."""
        width = self._config.head_dim
        frequencies = self._config.rope_base ** (-np.arange(0, width, 2) / width)
        angles = np.outer(positions, frequencies)[:, None, :]
        even, odd = x[..., 0::2].astype(np.float64), x[..., 1::2].astype(np.float64)
        rotated = np.empty(x.shape, np.float64)
        rotated[..., 0::2] = even * np.cos(angles) - odd * np.sin(angles)
        rotated[..., 1::2] = even * np.sin(angles) + odd * np.cos(angles)
        return rotated

    @staticmethod
    def _attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """q [M, query heads, D] at `positions` over k and v [N, KV heads, D] at 0, 1, ..."""
        group = q.shape[1] // k.shape[1]
        q, k, v = (x.swapaxes(0, 1) for x in (q, k.repeat(group, 1), v.repeat(group, 1)))
        scores = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])
        scores[:, np.arange(k.shape[1]) > positions[:, None]] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return (weights @ v).swapaxes(0, 1)
