"""A report whose every pixel is known, made by the real lseg_infer, for the test of its page.

The model is that of tests/lseg/tiny_model.h: each pixel by itself, logits EX = 0.1 (R - 100),
HE = 0.1 (G - 50), MA = 0.1 (B - 150), SE = -1. Photographs have the model's own size, so that nothing
is resampled.
"""
import json
import math
import os
import struct
import subprocess
import zlib

WIDTH, HEIGHT = 240, 160
NET = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
        convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "answer" type: "Sigmoid" bottom: "score" top: "probability" }
"""
RETINA = (90, 40, 30)
EX, HE, MA = (200, 40, 30), (90, 120, 30), (90, 40, 200)
EX_BOX = (60, 40, 20, 12)  # left, top, width, height
HE_BOX = (150, 90, 30, 20)
MA_BOX = (100, 110, 4, 4)
TRUTH_BOX = (70, 40, 20, 12)  # half of EX_BOX, and as much beside it


def probability(lesion, colour):
    logits = {"EX": 0.1 * (colour[0] - 100), "HE": 0.1 * (colour[1] - 50),
              "MA": 0.1 * (colour[2] - 150), "SE": -1}
    return 1 / (1 + math.exp(-logits[lesion]))


def write_png(path, width, height, pixel, channels):
    rows = b"".join(b"\0" + b"".join(bytes(pixel(x, y)) for x in range(width))
                    for y in range(height))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2}[channels], 0, 0, 0)),
              (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in chunks:
            file.write(struct.pack(">I", len(data)) + name + data +
                       struct.pack(">I", zlib.crc32(name + data)))


def write_weights(path):
    header = {
        "__metadata__": {"lseg.net": NET, "lseg.classes": "EX,HE,MA,SE", "lseg.width": str(WIDTH),
                         "lseg.height": str(HEIGHT), "lseg.mean": "150,50,100", "lseg.scale": "0.1"},
        "score.weight": {"dtype": "F32", "shape": [4, 3, 1, 1], "data_offsets": [0, 48]},
        "score.bias": {"dtype": "F32", "shape": [4], "data_offsets": [48, 64]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text +
                   struct.pack("<16f", 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, -1))


def inside(box, x, y):
    left, top, width, height = box
    return left <= x < left + width and top <= y < top + height


def eye(x, y):
    for box, colour in ((EX_BOX, EX), (HE_BOX, HE), (MA_BOX, MA)):
        if inside(box, x, y):
            return colour
    return RETINA if math.hypot(x - 119.5, y - 79.5) <= 75 else (0, 0, 0)


def speckled(x, y):
    """150 microaneurysms of one pixel, 4 apart."""
    if 60 <= x < 120 and 60 <= y < 100 and x % 4 == 0 and y % 4 == 0:
        return MA
    return eye(x, y) if eye(x, y) in (RETINA, (0, 0, 0)) else RETINA


def make(program, folder):
    """Makes `folder`/report; returns the index' path."""
    photos = os.path.join(folder, "in")
    os.makedirs(photos)
    write_weights(os.path.join(folder, "tiny.safetensors"))
    write_png(os.path.join(photos, "eye 1.png"), WIDTH, HEIGHT, eye, 3)
    write_png(os.path.join(photos, "speckled.png"), WIDTH, HEIGHT, speckled, 3)
    write_png(os.path.join(photos, "holiday.png"), WIDTH, HEIGHT, lambda x, y: (60, 49, 90), 3)
    with open(os.path.join(photos, "broken.jpg"), "w", encoding="utf-8") as file:
        file.write("no picture")
    write_png(os.path.join(folder, "truth.png"), WIDTH, HEIGHT,
              lambda x, y: [int(inside(TRUTH_BOX, x, y))], 1)
    with open(os.path.join(folder, "truth.txt"), "w", encoding="utf-8") as file:
        file.write("in/eye 1.png\ttruth.png\nin/speckled.png truth.png - - -\n")
    done = subprocess.run(
        [program, "--weights", os.path.join(folder, "tiny.safetensors"), "--input", photos, "--out",
         os.path.join(folder, "out"), "--report", os.path.join(folder, "report"), "--truth",
         os.path.join(folder, "truth.txt")], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr  # broken.jpg
    return os.path.join(folder, "report", "index.html")
