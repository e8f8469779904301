# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The sentence encoder all-MiniLM-L6-v2 (a small BERT) in plain numpy f32.

From a padded batch of token numbers to one unit vector per sentence. Everything is here but the
attention, which is handed in (padded_attention.py).
"""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

_erf = np.frompyfunc(math.erf, 1, 1)


class Encoder:
    def __init__(self, directory: Path) -> None:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        settings = json.loads((directory / "sentence_bert_config.json").read_text(encoding="utf-8"))
        self.longest: int = settings["max_seq_length"]
        self._layers: int = config["num_hidden_layers"]
        self._heads: int = config["num_attention_heads"]
        self._epsilon = np.float32(config["layer_norm_eps"])
        self._weights = load_file(directory / "model.safetensors")

    def encode(
        self, tokens: np.ndarray, lengths: np.ndarray, attention: Callable[..., np.ndarray]
    ) -> np.ndarray:
        """tokens [B, N], of which the first len[b] are the sentence's -> [B, width]."""
        x = self._embed(tokens)
        heads = (*tokens.shape, self._heads, x.shape[-1] // self._heads)
        for number in range(self._layers):
            layer = f"encoder.layer.{number}"
            q, k, v = (
                self._linear(x, f"{layer}.attention.self.{name}").reshape(heads)
                for name in ("query", "key", "value")
            )
            o = attention(q, k, v, lengths).reshape(x.shape)
            x = self._layer_norm(
                x + self._linear(o, f"{layer}.attention.output.dense"),
                f"{layer}.attention.output.LayerNorm",
            )
            hidden = self._linear(x, f"{layer}.intermediate.dense")
            hidden *= np.asarray(0.5 * (1 + _erf(hidden / math.sqrt(2))), np.float32)  # exact GELU
            x = self._layer_norm(
                x + self._linear(hidden, f"{layer}.output.dense"), f"{layer}.output.LayerNorm"
            )
        return self._pool(x, lengths)

    def _embed(self, tokens: np.ndarray) -> np.ndarray:
        table = "embeddings.{}_embeddings.weight"
        words = self._weights[table.format("word")][tokens]
        positions = self._weights[table.format("position")][: tokens.shape[1]]
        segment = self._weights[table.format("token_type")][0]
        return self._layer_norm(words + positions + segment, "embeddings.LayerNorm")

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _layer_norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.mean(centred * centred, axis=-1, keepdims=True)
        normal = centred / np.sqrt(variance + self._epsilon)
        return normal * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]

    @staticmethod
    def _pool(x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The mean over each sentence's tokens, scaled to length 1."""
        kept = np.arange(x.shape[1]) < lengths[:, None]
        # Chosen by `where`, not weighed: the rows of padding may hold anything.
        mean = np.where(kept[..., None], x, 0).sum(axis=1) / lengths[:, None].astype(np.float32)
        return mean / np.linalg.norm(mean, axis=-1, keepdims=True)
