"""Scores a batch of feature vectors with the model, in the runtime's native library."""

from pathlib import Path

import numpy
import onnxruntime

OPTIONS = onnxruntime.SessionOptions()
OPTIONS.intra_op_num_threads = 1
OPTIONS.inter_op_num_threads = 1
SESSION = onnxruntime.InferenceSession(Path(__file__).parent / "model.onnx", OPTIONS, providers=["CPUExecutionProvider"])


def run(rows):
    (output,) = SESSION.run(None, {"input": numpy.array(rows, dtype=numpy.float32)})
    return output.tolist()
