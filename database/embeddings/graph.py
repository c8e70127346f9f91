"""all-MiniLM-L6-v2 as an ONNX graph, built from the original safetensors weights.

Built once and cached, so that neither torch nor (afterwards) onnx is needed to embed. The graph is plain BERT
(6 layers, hidden size 384, 12 heads; Devlin et al. 2018) followed by what the model's own `modules.json` lists:
mean pooling over the tokens and L2 normalisation.

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
OPSET = 18  # the first where ReduceL2 takes its axes as an input
ORT = "com.microsoft"  # fused operators of onnxruntime, which is what runs the graph: a sixth faster than plain ones
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
        value = self.weights[name]
        return self.constant(name, value.T if value.ndim == 2 else value)

    def integers(self, *values: int) -> str:
        return self.constant("i_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], domain=domain, **attributes))
        return output

    def add_and_norm(self, inputs: str, dense: str, skip: str, norm: str) -> str:
        """LayerNorm(inputs · dense + bias + skip)."""
        product = self.node("MatMul", inputs, self.weight(f"{dense}.weight"))
        scale, shift, bias = (self.weight(f"{norm}.weight"), self.weight(f"{norm}.bias"), self.weight(f"{dense}.bias"))
        return self.node(
            "SkipLayerNormalization", product, skip, scale, shift, bias, domain=ORT, epsilon=LAYER_NORM_EPSILON
        )


def _embed_tokens(b: _Builder) -> str:
    words = b.constant("words", b.weights["embeddings.word_embeddings.weight"])
    # One text per input, so every token has type 0: its row is added to the positions once, here.
    types = b.weights["embeddings.token_type_embeddings.weight"]
    positions = b.constant("positions", b.weights["embeddings.position_embeddings.weight"] + types[0])
    length = b.node("Shape", "ids", start=1, end=2)
    first = b.node("Slice", positions, b.integers(0), length, b.integers(0))
    scale, shift = b.weight("embeddings.LayerNorm.weight"), b.weight("embeddings.LayerNorm.bias")
    total = b.node("Add", b.node("Gather", words, "ids"), first)
    return b.node("LayerNormalization", total, scale, shift, axis=-1, epsilon=LAYER_NORM_EPSILON)


def _attend(b: _Builder, states: str, mask: str, name: str) -> str:
    parts = [f"{name}.self.{part}" for part in ("query", "key", "value")]
    weight = b.constant(f"{name}.weight", np.hstack([b.weights[f"{part}.weight"].T for part in parts]))
    bias = b.constant(f"{name}.bias", np.hstack([b.weights[f"{part}.bias"] for part in parts]))
    mixed = b.node("Attention", states, weight, bias, mask, domain=ORT, num_heads=HEADS)
    return b.add_and_norm(mixed, f"{name}.output.dense", states, f"{name}.output.LayerNorm")


def _feed_forward(b: _Builder, states: str, name: str) -> str:
    product = b.node("MatMul", states, b.weight(f"{name}.intermediate.dense.weight"))
    inner = b.node("BiasGelu", product, b.weight(f"{name}.intermediate.dense.bias"), domain=ORT)
    return b.add_and_norm(inner, f"{name}.output.dense", states, f"{name}.output.LayerNorm")


def _pool(b: _Builder, states: str) -> None:
    column = b.node("Unsqueeze", b.node("Cast", "mask", to=TensorProto.FLOAT), b.integers(2))
    total = b.node("ReduceSum", b.node("Mul", states, column), b.integers(1), keepdims=0)
    # The mean needs no division: L2 normalisation takes any factor out again.
    length = b.node("ReduceL2", total, b.integers(1), keepdims=1)
    b.nodes.append(helper.make_node("Div", [total, length], ["embeddings"]))


def build_graph(weights_file: Path) -> onnx.ModelProto:
    """The graph with all weights inside (about 90 MB)."""
    b = _Builder(read_weights(weights_file))
    mask = b.node("Cast", "mask", to=TensorProto.INT32)
    states = _embed_tokens(b)
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        states = _feed_forward(b, _attend(b, states, mask, f"{name}.attention"), name)
    _pool(b, states)

    def tensor(name: str, kind: int, shape: list[str | int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        b.nodes,
        "all-MiniLM-L6-v2",
        [tensor(name, TensorProto.INT64, ["texts", "tokens"]) for name in ("ids", "mask")],
        [tensor("embeddings", TensorProto.FLOAT, ["texts", HIDDEN])],
        initializer=list(b.constants.values()),
    )
    operators = [helper.make_opsetid("", OPSET), helper.make_opsetid(ORT, 1)]
    return helper.make_model(graph, opset_imports=operators, ir_version=IR_VERSION)
