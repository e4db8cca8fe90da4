"""Writes model.onnx: a perceptron of three layers.

The weights are the sine of a range, computed when a session is opened, so the file holds no numbers that nobody can check. The file is
encoded here, by onnx.proto (field numbers below) and the wire format of Protocol Buffers, so that nothing needs to be installed.
"""

import struct
from pathlib import Path

LAYERS = [64, 256, 256, 10]
FLOAT, INT64 = 1, 7
"""TensorProto.DataType."""


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def message(*fields: tuple[int, object]) -> bytes:
    """Fields by number: whole numbers as varints, texts and messages with their length."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def constant(name: str, kind: int, shape: list[int], values: list) -> bytes:
    """TensorProto: dims 1, data_type 2, float_data 4 or int64_data 7 (packed), name 8."""
    data = (4, struct.pack(f"<{len(values)}f", *values)) if kind == FLOAT else (7, b"".join(map(varint, values)))
    return message(*((1, size) for size in shape), (2, kind), data, (8, name))


def node(kind: str, inputs: list[str], output: str) -> bytes:
    """NodeProto: input 1, output 2, op_type 4."""
    return message(*((1, name) for name in inputs), (2, output), (4, kind))


def tensor(name: str, columns: int) -> bytes:
    """ValueInfoProto: name 1, type 2; a tensor (1) of floats whose shape (2) is a batch of any size (dim_param 2) by columns (dim_value 1)."""
    shape = message((1, message((2, "batch"))), (1, message((1, columns))))
    return message((1, name), (2, message((1, message((1, FLOAT), (2, shape))))))


def model() -> bytes:
    nodes = []
    constants = [constant("zero", FLOAT, [], [0.0]), constant("one", FLOAT, [], [1.0])]
    current = "input"
    for layer, (rows, columns) in enumerate(zip(LAYERS, LAYERS[1:])):
        constants += [
            constant(f"count{layer}", FLOAT, [], [float(rows * columns)]),
            constant(f"shape{layer}", INT64, [2], [rows, columns]),
            constant(f"scale{layer}", FLOAT, [], [rows**-0.5]),
        ]
        last = layer == len(LAYERS) - 2
        nodes += [
            node("Range", ["zero", f"count{layer}", "one"], f"range{layer}"),
            node("Sin", [f"range{layer}"], f"sine{layer}"),
            node("Mul", [f"sine{layer}", f"scale{layer}"], f"scaled{layer}"),
            node("Reshape", [f"scaled{layer}", f"shape{layer}"], f"weights{layer}"),
            node("MatMul", [current, f"weights{layer}"], f"product{layer}"),
            node("Softmax" if last else "Tanh", [f"product{layer}"], "output" if last else f"layer{layer}"),
        ]
        current = f"layer{layer}"
    # GraphProto: node 1, name 2, initializer 5, input 11, output 12.
    graph = message(
        *((1, one) for one in nodes),
        (2, "perceptron"),
        *((5, one) for one in constants),
        (11, tensor("input", LAYERS[0])),
        (12, tensor("output", LAYERS[-1])),
    )
    # ModelProto: ir_version 1, producer_name 2, graph 7, opset_import 8 (OperatorSetIdProto: domain 1, version 2).
    return message((1, 9), (2, "suite"), (7, graph), (8, message((1, ""), (2, 17))))


if __name__ == "__main__":
    (Path(__file__).parent / "model.onnx").write_bytes(model())
