# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The two attentions of this example, alike from outside: Fovea's and a plain one to compare with.

Each takes a padded batch, q, k and v [B, N, heads, D] and the sentences' lengths len i32[B], and
returns what the queries attend to, like q. The rows of padding hold nothing of meaning.
"""

import os

import numpy as np

import fovea


class FoveaAttention:
    """The compiled kernel."""

    def __init__(self, library: str | os.PathLike[str], threads: int = 0) -> None:
        self._kernel = fovea.load(library)
        self._context = self._kernel.create_context(threads)

    def __call__(
        self, q: np.ndarray, k: np.ndarray, v: np.ndarray, lengths: np.ndarray
    ) -> np.ndarray:
        o = np.empty(q.shape, np.float32)
        self._kernel(q=q, k=k, v=v, len=lengths, o=o, context=self._context)
        return o


def reference_attention(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """The textbook's formula in f64."""
    q, k, v = (x.astype(np.float64).swapaxes(1, 2) for x in (q, k, v))
    scores = q @ k.swapaxes(2, 3) / np.sqrt(q.shape[-1])
    padding = np.arange(k.shape[2]) >= lengths[:, None]
    scores = np.where(padding[:, None, None, :], -np.inf, scores)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return (weights @ v).swapaxes(1, 2).astype(np.float32)
