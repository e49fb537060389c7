"""That bench_cpu.py's candidates compute the same function, losses and gradients."""

import json
import os
import shutil
import struct
import sys
import zlib

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
TORCH = os.path.join(HERE, "bench_torch.py")
ONNX = os.path.join(HERE, "bench_onnx.py")
SIZE = (241, 159)
MEAN_BGR = (16.3090, 56.4373, 116.5132)  # the built-in net's
# f32: convolutions that sum in different orders, Winograd among them, 13 layers deep; a logit at
# the edge of a bin may fall to either side, which moves a gradient by that pixel's share. bf16:
# 8 bits a value, 1/256 a rounding, some 30 of them on the way; another net is off by far more.
TOLERANCES = {
    "f32": {"probability": 1e-4, "losses": 1e-4, "gradients": 1e-2},
    "bf16": {"probability": 0.1, "losses": 0.05, "gradients": 0.5},
}


def write_png(path, pixels):
    """RGB of 8 bits."""

    def chunk(name, body):
        checksum = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + checksum

    height, width, _ = pixels.shape
    rows = numpy.concatenate([numpy.zeros((height, 1), numpy.uint8), pixels.reshape(height, -1)], 1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header))
        file.write(chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b""))


def write_arrays(path, arrays):
    """safetensors of f32."""
    header, body = {}, b""
    for name, array in arrays.items():
        values = numpy.ascontiguousarray(array, numpy.float32)
        header[name] = {"dtype": "F32", "shape": list(values.shape),
                        "data_offsets": [len(body), len(body) + values.nbytes]}  # fmt: skip
        body += values.tobytes()
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)


def save_program(shop, run, folder):
    """What lseg_infer answers for a PNG, in the form of bench_net --save."""
    os.makedirs(folder)
    width, height = SIZE
    pixels = numpy.random.default_rng(2).integers(0, 256, (height, width, 3), numpy.uint8)
    write_png(shop.path("random.png"), pixels)
    weights = os.path.join(shop.saved, "weights.safetensors")
    run([shop.infer, "--weights", weights, "--input", shop.path("random.png"), "--out",
         shop.path("maps"), "--native", "--prob", "npy"], shop.env)  # fmt: skip
    data = pixels[:, :, ::-1].astype(numpy.float32) - numpy.array(MEAN_BGR, numpy.float32)
    probability = numpy.load(os.path.join(shop.path("maps"), "random.prob.npy"))
    arrays = {"data": data.transpose(2, 0, 1)[None], "probability": probability[None]}
    write_arrays(os.path.join(folder, "arrays.safetensors"), arrays)
    shutil.copy(weights, folder)


def check(shop, run, failed):
    """Differences by candidate and what is compared; ends the program where one is too large.
    `failed` is what `run` raises."""
    width, height = SIZE
    size = ["--width", str(width), "--height", str(height), "--repeat", "1"]
    trained, program = shop.path("trained"), shop.path("program")
    for folder, mode in ((shop.saved, "forward"), (trained, "train")):
        os.makedirs(folder)
        run([shop.bench, mode, *size, "--save", folder], shop.env)
    save_program(shop, run, program)
    onnx = shop.onnx(SIZE)
    torch = [sys.executable, TORCH, "check", "--dir"]
    checks = {("L-Seg, program", "f32"): [*torch, program]}
    if "bf16" in shop.args.precisions:
        for mode, name in (("forward", "L-Seg, net"), ("train", "L-Seg training")):
            rounded = shop.path("rounded_" + mode)
            os.makedirs(rounded)
            try:
                run([shop.bench, mode, *size, "--precision", "bf16", "--save", rounded], shop.env)
                checks[(name, "bf16")] = [*torch, rounded]
            except failed as error:
                print(f"{name}, bf16: {error}", flush=True)  # its rows will say so, too
    for precision in shop.args.precisions:
        given = ["--precision", precision]
        checks[("PyTorch eager", precision)] = [*torch, shop.saved, *given]
        checks[("PyTorch compile", precision)] = [*torch, shop.saved, "--compile", *given]
        checks[("PyTorch training", precision)] = [*torch, trained, *given]
        checks[("OpenVINO", precision)] = [sys.executable, ONNX, "openvino", "--onnx", onnx, *given,
                                           "--check", shop.saved]  # fmt: skip
    checks[("ONNX Runtime", "f32")] = [sys.executable, ONNX, "onnxruntime", "--onnx", onnx,
                                       "--check", shop.saved]  # fmt: skip
    differences = {}

    def compare(name, precision, command, env):
        answer = json.loads(run(command, env)["answer"])
        answer.pop("mode")
        too_far = []
        for what, difference in answer.items():
            label = f"{name}, {precision}, {what}"
            differences[label] = difference
            print(f"difference of {label}: {difference:.1e}", flush=True)
            if not difference < TOLERANCES[precision][what]:
                too_far.append(f"{label}: off by {difference}, above {TOLERANCES[precision][what]}")
        return too_far

    for (name, precision), command in checks.items():
        too_far = compare(name, precision, command, shop.env)
        if too_far and name.startswith("PyTorch"):
            # PyTorch 2.15's gradient of a ConvTranspose2d of kernel 32 in bf16 is wrong where oneDNN
            # uses AMX (by 100 %), and right without. Its time counts as it is.
            print("\n".join(too_far) + "; once more without AMX", flush=True)
            without = dict(shop.env, ONEDNN_MAX_CPU_ISA="AVX512_CORE_BF16")
            too_far = compare(name + " without AMX", precision, command, without)
        if too_far:
            sys.exit("\n".join(too_far))
    return differences
