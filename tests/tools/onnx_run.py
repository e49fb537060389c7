"""Compares ONNX Runtime's answers with given ones.

  python3 onnx_run.py MODEL.onnx INPUT.npy EXPECTED.npy [INPUT.npy EXPECTED.npy ...]

Checks the model first. Prints the largest difference of each pair, a line each. Exits with 77, and the
reason, where Python lacks numpy, onnx or onnxruntime.
"""

import sys

try:
    import numpy
    import onnx
    import onnxruntime
except ImportError as error:
    print(f"{sys.executable}: {error}")
    sys.exit(77)


def main():
    path, *pairs = sys.argv[1:]
    onnx.checker.check_model(onnx.load(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for image, expected in zip(pairs[::2], pairs[1::2]):
        wanted = numpy.load(expected)
        answer = session.run(None, {name: numpy.load(image)})[0]
        assert answer.shape == wanted.shape, f"{image}: {answer.shape} for {wanted.shape}"
        assert numpy.isfinite(answer).all(), f"{image}: not finite"
        print(f"{numpy.abs(answer - wanted).max():.3g}")


if __name__ == "__main__":
    main()
