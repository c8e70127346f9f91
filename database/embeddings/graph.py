"""all-MiniLM-L6-v2 as an ONNX graph, built from the original safetensors weights.

Built once and cached, so that neither torch nor (afterwards) onnx is needed to embed. The graph is plain
BERT (6 layers, hidden size 384, 12 heads; Devlin et al. 2018) followed by what the model's own `modules.json`
lists: mean pooling over the tokens and L2 normalisation.

Inputs  `ids`, `mask`  int64 [texts, tokens]; `mask` is 1 for a token and 0 for padding.
Output  `embeddings`   float32 [texts, 384], each of length 1.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS = 6
HIDDEN = 384
HEADS = 12
LAYER_NORM_EPSILON = 1e-12
MASKED = -10000.0  # added to the score of a padding token, so that Softmax gives it no share
OPSET = 20  # the first with Gelu
IR_VERSION = 10  # ONNX 1.16, so that onnxruntime ≥ 1.18 reads the file

Array = np.ndarray[Any, np.dtype[Any]]


def read_weights(path: Path) -> dict[str, Array]:
    """The tensors of a safetensors file by name: 8 bytes length, a JSON header, then the raw data."""
    content = np.memmap(path, dtype=np.uint8, mode="r")
    (length,) = struct.unpack("<Q", content[:8].tobytes())
    header = json.loads(content[8 : 8 + length].tobytes())
    data = content[8 + length :]
    weights = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            start, end = entry["data_offsets"]
            weights[name] = data[start:end].view(np.float32).reshape(entry["shape"])
    return weights


class _Builder:
    """Collects nodes and constants; each method returns the name of its result."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: Array) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def weight(self, name: str) -> str:
        # PyTorch stores a linear layer as [out, in]; MatMul wants [in, out].
        return self.constant(name, self.weights[name].T)

    def integers(self, *values: int) -> str:
        return self.constant("i_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def number(self, value: float) -> str:
        return self.constant(f"f_{value}", np.array(value, dtype=np.float32))

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def linear(self, inputs: str, name: str) -> str:
        return self.node(
            "Add", self.node("MatMul", inputs, self.weight(f"{name}.weight")), self.weight(f"{name}.bias")
        )

    def norm(self, inputs: str, name: str) -> str:
        scale, shift = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node("LayerNormalization", inputs, scale, shift, axis=-1, epsilon=LAYER_NORM_EPSILON)


def _embed_tokens(b: _Builder) -> str:
    words = b.constant("words", b.weights["embeddings.word_embeddings.weight"])
    # One text per input, so every token has type 0: its row is added to the positions once, here.
    types = b.weights["embeddings.token_type_embeddings.weight"]
    positions = b.constant("positions", b.weights["embeddings.position_embeddings.weight"] + types[0])
    length = b.node("Shape", "ids", start=1, end=2)
    first = b.node("Slice", positions, b.integers(0), length, b.integers(0))
    return b.norm(b.node("Add", b.node("Gather", words, "ids"), first), "embeddings.LayerNorm")


def _attend(b: _Builder, states: str, padding: str, name: str) -> str:
    def heads(part: str, order: list[int]) -> str:
        shape = b.integers(0, 0, HEADS, HIDDEN // HEADS)
        return b.node(
            "Transpose", b.node("Reshape", b.linear(states, f"{name}.self.{part}"), shape), perm=order
        )

    query, key, value = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
    scores = b.node("Mul", b.node("MatMul", query, key), b.number((HIDDEN // HEADS) ** -0.5))
    shares = b.node("Softmax", b.node("Add", scores, padding), axis=-1)
    mixed = b.node("Transpose", b.node("MatMul", shares, value), perm=[0, 2, 1, 3])
    output = b.linear(b.node("Reshape", mixed, b.integers(0, 0, HIDDEN)), f"{name}.output.dense")
    return b.norm(b.node("Add", output, states), f"{name}.output.LayerNorm")


def _feed_forward(b: _Builder, states: str, name: str) -> str:
    inner = b.node("Gelu", b.linear(states, f"{name}.intermediate.dense"))
    return b.norm(b.node("Add", b.linear(inner, f"{name}.output.dense"), states), f"{name}.output.LayerNorm")


def _pool(b: _Builder, states: str, mask: str) -> None:
    total = b.node(
        "ReduceSum",
        b.node("Mul", states, b.node("Unsqueeze", mask, b.integers(2))),
        b.integers(1),
        keepdims=0,
    )
    # The mean needs no division: L2 normalisation takes any factor out again.
    length = b.node("ReduceL2", total, b.integers(1), keepdims=1)
    b.nodes.append(helper.make_node("Div", [total, length], ["embeddings"]))


def build_graph(weights_file: Path) -> onnx.ModelProto:
    """The graph with all weights inside (about 90 MB)."""
    b = _Builder(read_weights(weights_file))
    mask = b.node("Cast", "mask", to=TensorProto.FLOAT)
    masked = b.node("Mul", b.node("Sub", b.number(1.0), mask), b.number(MASKED))
    padding = b.node("Unsqueeze", masked, b.integers(1, 2))
    states = _embed_tokens(b)
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        states = _feed_forward(b, _attend(b, states, padding, f"{name}.attention"), name)
    _pool(b, states, mask)

    def tensor(name: str, kind: int, shape: list[str | int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        b.nodes,
        "all-MiniLM-L6-v2",
        [tensor(name, TensorProto.INT64, ["texts", "tokens"]) for name in ("ids", "mask")],
        [tensor("embeddings", TensorProto.FLOAT, ["texts", HIDDEN])],
        initializer=list(b.constants.values()),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
