"""Writes model.onnx: a perceptron of three layers. Needs the package `onnx`.

The weights are the sine of a range, computed when a session is opened, so the file holds no numbers that nobody can check.
"""

from pathlib import Path

from onnx import TensorProto, checker, helper

LAYERS = [64, 256, 256, 10]


def constant(name, kind, shape, values):
    return helper.make_tensor(name, kind, shape, values)


def model():
    nodes, constants = [], [
        constant("zero", TensorProto.FLOAT, [], [0.0]),
        constant("one", TensorProto.FLOAT, [], [1.0]),
    ]
    current = "input"
    for layer, (rows, columns) in enumerate(zip(LAYERS, LAYERS[1:])):
        constants += [
            constant(f"count{layer}", TensorProto.FLOAT, [], [float(rows * columns)]),
            constant(f"shape{layer}", TensorProto.INT64, [2], [rows, columns]),
            constant(f"scale{layer}", TensorProto.FLOAT, [], [rows**-0.5]),
        ]
        last = layer == len(LAYERS) - 2
        nodes += [
            helper.make_node("Range", ["zero", f"count{layer}", "one"], [f"range{layer}"]),
            helper.make_node("Sin", [f"range{layer}"], [f"sine{layer}"]),
            helper.make_node("Mul", [f"sine{layer}", f"scale{layer}"], [f"scaled{layer}"]),
            helper.make_node("Reshape", [f"scaled{layer}", f"shape{layer}"], [f"weights{layer}"]),
            helper.make_node("MatMul", [current, f"weights{layer}"], [f"product{layer}"]),
            helper.make_node("Softmax" if last else "Tanh", [f"product{layer}"], ["output" if last else f"layer{layer}"]),
        ]
        current = f"layer{layer}"
    graph = helper.make_graph(
        nodes,
        "perceptron",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", LAYERS[0]])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", LAYERS[-1]])],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="suite")
    checker.check_model(made)
    return made


if __name__ == "__main__":
    (Path(__file__).parent / "model.onnx").write_bytes(model().SerializeToString())
