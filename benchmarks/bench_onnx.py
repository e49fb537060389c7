"""L-Seg in ONNX Runtime and in OpenVINO, from the file that `bench_torch.py export` writes.

One process measures one thing and prints one line of JSON:

  python3 bench_onnx.py openvino --precision bf16 --onnx net.onnx
  python3 bench_onnx.py onnxruntime --onnx net.onnx --check DIR   # with what bench_net --save wrote
"""

import argparse
import json
import os
import struct
import time

import numpy


def read_arrays(folder):
    """data and probability of bench_net --save."""
    with open(os.path.join(folder, "arrays.safetensors"), "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header, body = json.loads(file.read(length)), file.read()
    arrays = {}
    for name in ("data", "probability"):
        begin, end = header[name]["data_offsets"]
        values = numpy.frombuffer(body[begin:end], numpy.float32)
        arrays[name] = values.reshape(header[name]["shape"])
    return arrays


def by_onnxruntime(args):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(args.onnx, options, ["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape
    return onnxruntime.__version__, shape, lambda data: session.run(None, {"data": data})[0]


def by_openvino(args):
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": args.precision, "INFERENCE_NUM_THREADS": args.threads,
                "PERFORMANCE_HINT": "LATENCY"}  # fmt: skip
    model = core.compile_model(core.read_model(args.onnx), "CPU", settings)
    request = model.create_infer_request()
    shape = [int(side) for side in model.inputs[0].shape]
    return openvino.__version__, shape, lambda data: request.infer({"data": data})[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runtime", choices=["onnxruntime", "openvino"])
    parser.add_argument("--onnx", required=True)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--check", metavar="DIR", help="compare instead of timing")
    args = parser.parse_args()
    if args.runtime == "onnxruntime" and args.precision != "f32":
        parser.error("onnxruntime convolves in f32 only on this kind of processor")
    version, shape, infer = (by_onnxruntime if args.runtime == "onnxruntime" else by_openvino)(args)
    if args.check:
        arrays = read_arrays(args.check)
        difference = numpy.abs(infer(arrays["data"]) - arrays["probability"]).max()
        print(json.dumps({"mode": "check", "probability": float(difference)}))
        return
    data = numpy.random.default_rng(1).uniform(-32, 32, shape).astype(numpy.float32)
    for _ in range(args.warmup):
        infer(data)
    seconds = []
    for _ in range(args.repeat):
        start = time.perf_counter()
        infer(data)
        seconds.append(time.perf_counter() - start)
    print(
        json.dumps(
            {
                "mode": "forward",
                "width": shape[3],
                "height": shape[2],
                "precision": args.precision,
                "variant": args.runtime,
                "version": version,
                "threads": args.threads,
                "seconds": seconds,
            }
        )
    )


if __name__ == "__main__":
    main()
