# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A Llama-style language model in plain numpy f32, read from a GGUF file.

From token numbers to the logits of the next token. Everything is here but the attention, which is
handed in (cached_attention.py).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gguf import GGUFReader, dequantize


@dataclass(frozen=True)
class Config:
    layers: int
    query_heads: int
    kv_heads: int
    head_dim: int
    rope_base: float
    epsilon: float


@dataclass(frozen=True)
class _Layer:
    """Matrices are stored [inputs, outputs], the order in which x @ W reads memory in a row."""

    attention_norm: np.ndarray
    qkv: np.ndarray
    out: np.ndarray
    mlp_norm: np.ndarray
    gate_up: np.ndarray
    down: np.ndarray


class Llama:
    def __init__(self, reader: GGUFReader) -> None:
        tensors = {tensor.name: tensor for tensor in reader.tensors}

        def metadata(key: str) -> Any:
            return reader.fields[f"llama.{key}"].contents()

        def weight(*names: str) -> np.ndarray:
            parts = [tensors[f"{name}.weight"] for name in names]
            return np.concatenate([dequantize(part.data, part.tensor_type) for part in parts])

        def matrix(*names: str) -> np.ndarray:
            return np.ascontiguousarray(weight(*names).T)

        self.config = Config(
            layers=metadata("block_count"),
            query_heads=metadata("attention.head_count"),
            kv_heads=metadata("attention.head_count_kv"),
            head_dim=metadata("rope.dimension_count"),
            rope_base=metadata("rope.freq_base"),
            epsilon=metadata("attention.layer_norm_rms_epsilon"),
        )
        self._layers = [
            _Layer(
                attention_norm=weight(f"blk.{n}.attn_norm"),
                qkv=matrix(f"blk.{n}.attn_q", f"blk.{n}.attn_k", f"blk.{n}.attn_v"),
                out=matrix(f"blk.{n}.attn_output"),
                mlp_norm=weight(f"blk.{n}.ffn_norm"),
                gate_up=matrix(f"blk.{n}.ffn_gate", f"blk.{n}.ffn_up"),
                down=matrix(f"blk.{n}.ffn_down"),
            )
            for n in range(self.config.layers)
        ]
        self._norm = weight("output_norm")
        self._head = matrix("token_embd")  # tied: the head's columns are the embeddings
        self.attention_seconds = 0.0

    def forward(
        self,
        tokens: np.ndarray,
        past: np.ndarray,
        last: np.ndarray,
        attention: Callable[..., np.ndarray],
    ) -> np.ndarray:
        """tokens [B, M] behind the past[b] tokens of each row -> logits [B, vocabulary].

        The logits are those of position last[b] in the row: what follows it is padding.
        """
        config = self.config
        batch, new = tokens.shape
        query_width = config.query_heads * config.head_dim
        kv_width = config.kv_heads * config.head_dim
        # All tokens are the rows of one matrix, so that a step reads each weight once.
        x = self._head.T[tokens.reshape(-1)]
        for number, layer in enumerate(self._layers):
            qkv = self._rms_norm(x, layer.attention_norm) @ layer.qkv
            q, k, v = np.split(qkv, [query_width, query_width + kv_width], axis=-1)
            started = time.perf_counter()
            o = attention(
                number,
                q.reshape(batch, new, config.query_heads, config.head_dim),
                k.reshape(batch, new, config.kv_heads, config.head_dim),
                v.reshape(batch, new, config.kv_heads, config.head_dim),
                past,
            )
            self.attention_seconds += time.perf_counter() - started
            x = x + o.reshape(batch * new, query_width) @ layer.out
            gate, up = np.split(self._rms_norm(x, layer.mlp_norm) @ layer.gate_up, 2, axis=-1)
            x = x + (gate / (1 + np.exp(-gate)) * up) @ layer.down
        return self._rms_norm(x[np.arange(batch) * new + last], self._norm) @ self._head

    def _rms_norm(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        mean_square = np.mean(x * x, axis=-1, keepdims=True)
        return x / np.sqrt(mean_square + np.float32(self.config.epsilon)) * weight
