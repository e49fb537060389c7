"""L-Seg in PyTorch: the peer that bench_net is timed beside, and checked against.

One process measures one thing and prints one line of JSON:

  python3 bench_torch.py forward --width 1440 --height 960 --format channels_last
  python3 bench_torch.py train --width 720 --height 480 --precision bf16 --compile
  python3 bench_torch.py check --dir DIR      # compares with what `bench_net --save DIR` wrote
  python3 bench_torch.py export --dir DIR --width 1440 --height 960 --onnx net.onnx

bf16 is the whole net in inference, and autocast with f32 parameters and losses in training.
torch.compile freezes the weights in inference, so that they are packed once.
"""

import argparse
import json
import os
import resource
import struct
import time

import torch
import torch.nn.functional as F

LESIONS = 4
TRUNK = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]  # convolutions and channels of each stage
CROPS = [0, 1, 2, 4, 8]
KEY = 10  # negatives wanted a positive


def bilinear(channels, kernel):
    """Deconvolution weights that interpolate each channel by itself."""
    factor = (kernel + 1) // 2
    center = factor - 0.5
    line = 1 - (torch.arange(kernel) - center).abs() / factor
    weight = torch.zeros(channels, channels, kernel, kernel)
    for c in range(channels):
        weight[c, c] = torch.outer(line, line)
    return weight


class LSeg(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.convs, self.scores, self.ups = (torch.nn.ModuleDict() for _ in range(3))
        self.fusion = torch.nn.ModuleList()
        channels = 3
        for stage, (count, width) in enumerate(TRUNK, 1):
            for i in range(1, count + 1):
                conv = torch.nn.Conv2d(channels, width, 3, padding=1)
                torch.nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                self.convs[f"conv{stage}_{i}"] = conv
                channels = width
            self.scores[str(stage)] = torch.nn.Conv2d(channels, LESIONS, 1)
            torch.nn.init.normal_(self.scores[str(stage)].weight, std=0.01)
            if stage > 1:
                stride = 2 ** (stage - 1)
                up = torch.nn.ConvTranspose2d(LESIONS, LESIONS, 2 * stride, stride)
                up.weight.data.copy_(bilinear(LESIONS, 2 * stride))
                up.bias.data.zero_()
                up.requires_grad_(False)
                self.ups[str(stage)] = up
        for _ in range(LESIONS):
            fusion = torch.nn.Conv2d(len(TRUNK), 1, 1)
            torch.nn.init.constant_(fusion.weight, 0.2)
            self.fusion.append(fusion)
        for module in self.modules():
            if getattr(module, "bias", None) is not None:
                torch.nn.init.zeros_(module.bias)

    def forward(self, data):
        """Five side maps and the fused one, logits."""
        height, width = data.shape[2:]
        sides, x = [], data
        for stage, (count, _) in enumerate(TRUNK, 1):
            if stage > 1:
                x = F.max_pool2d(x, 2, 2, ceil_mode=True)
            for i in range(1, count + 1):
                x = F.relu(self.convs[f"conv{stage}_{i}"](x), inplace=True)
            side = self.scores[str(stage)](x)
            if stage > 1:
                at = CROPS[stage - 1]
                side = self.ups[str(stage)](side)[:, :, at : at + height, at : at + width]
            sides.append(side)
        fused = [
            self.fusion[c](torch.cat([side[:, c : c + 1] for side in sides], 1))
            for c in range(LESIONS)
        ]
        return sides, torch.cat(fused, 1)


class Inference(torch.nn.Module):
    """Probabilities of the fused map: what a user of the net asks for."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, data):
        return torch.sigmoid(self.net(data)[1])


def bin_loss(logits, masks):
    """The multi-channel bin loss of one image, divided by its pixels; masks (lesions, H, W)."""
    z, positive = logits[0].flatten(1), masks.flatten(1)
    edges = torch.tensor([0.2, 0.4, 0.6, 0.8]).logit()
    bins = sum((z.detach() >= edge).to(torch.int8) for edge in edges)
    masks = torch.stack([(bins == b) & ~positive for b in range(4, -1, -1)])  # hardest first
    counts, positives = masks.sum(2), positive.sum(1)
    before = counts.cumsum(0) - counts
    taken = (before < KEY * positives) | (positives == 0)
    negative = (masks & taken[:, :, None]).any(0)
    count_pos = positives.sum()
    count_neg = ((counts * taken).sum(0) // LESIONS).sum()
    total = (count_pos + count_neg).clamp(min=1)
    loss = (F.softplus(-z) * positive).sum() * (count_neg / total)
    loss = loss + (F.softplus(z) * negative).sum() * (count_pos / total)
    return loss / z.shape[1]


def lesion_masks(height, width):
    """Blocks of every lesion, 2 % of the pixels in all."""
    masks = torch.zeros(LESIONS, height, width, dtype=torch.bool)
    for c in range(LESIONS):
        top, left = height * (2 * c + 1) // 9, width * (2 * c + 1) // 9
        masks[c, top : top + height // 14, left : left + width // 14] = True
    return masks


def measure(step, warmup, repeat):
    for _ in range(warmup):
        step()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return seconds


def peak_rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def layout_of(args):
    return torch.channels_last if args.format == "channels_last" else torch.contiguous_format


def inference_of(net, args):
    """A function of the input in f32 that gives the probabilities."""
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    model = Inference(net).eval().to(dtype=dtype, memory_format=layout_of(args))
    if args.compile:
        from torch._inductor import config

        config.freezing = True
        model = torch.compile(model)

    def infer(data):
        with torch.no_grad():  # inference_mode forbids freezing
            return model(data.to(dtype=dtype, memory_format=layout_of(args)))

    return infer


def training_of(net, args):
    """A function of the input that gives the five side maps and the fused one in f32."""
    model = torch.compile(net) if args.compile else net

    def forward(data):
        with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bf16"):
            sides, fused = model(data)
        return [logits.float() for logits in [*sides, fused]]

    return forward


def run(args):
    torch.manual_seed(1)
    after_import = peak_rss()
    net = LSeg().to(memory_format=layout_of(args))
    data = (torch.rand(1, 3, args.height, args.width) * 64 - 32).to(memory_format=layout_of(args))
    if args.mode == "forward":
        infer = inference_of(net, args)
        seconds = measure(lambda: infer(data), args.warmup, args.repeat)
    else:
        masks = lesion_masks(args.height, args.width)
        parameters = [p for p in net.parameters() if p.requires_grad]
        solver = torch.optim.SGD(parameters, lr=1e-9, momentum=0.9, weight_decay=2e-4)
        forward = training_of(net, args)

        def step():
            solver.zero_grad(set_to_none=True)
            loss = sum(bin_loss(logits, masks) for logits in forward(data))
            loss.backward()
            solver.step()

        seconds = measure(step, args.warmup, args.repeat)
    print(
        json.dumps(
            {
                "mode": args.mode,
                "width": args.width,
                "height": args.height,
                "precision": args.precision,
                "variant": args.format + (" compiled" if args.compile else ""),
                "version": torch.__version__,
                "threads": torch.get_num_threads(),
                "seconds": seconds,
                "peak_rss_bytes": peak_rss(),
                "rss_after_import_bytes": after_import,
            }
        )
    )


def read_safetensors(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        body = bytearray(file.read())
    tensors = {}
    for key, entry in header.items():
        if key == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        values = torch.frombuffer(body[begin:end], dtype=torch.float32)
        tensors[key] = values.reshape(entry["shape"])
    return tensors


# Names of the definition for the modules here.
NAMES = {f"scores.{i}": f"new-score-dsn{i}" for i in range(1, 6)}
NAMES |= {"ups.2": "upsample_22", "ups.3": "upsample_44"}
NAMES |= {"ups.4": "upsample_88", "ups.5": "upsample_166"}
NAMES |= {f"fusion.{c}": f"fusion_channel{c + 1}" for c in range(LESIONS)}


def load(net, saved):
    """Copies weights by the definition's names; returns the key there of each key here."""
    state, keys = {}, {}
    for key, value in net.state_dict().items():
        module, kind = key.rsplit(".", 1)
        keys[key] = f"{NAMES.get(module, module.removeprefix('convs.'))}.{kind}"
        state[key] = saved[keys[key]].reshape(value.shape)
    net.load_state_dict(state)
    return keys


def check(args):
    """Same weights and input as bench_net: how far its answer, or losses and gradients, are off."""
    arrays = read_safetensors(os.path.join(args.dir, "arrays.safetensors"))
    net = LSeg()
    keys = load(net, read_safetensors(os.path.join(args.dir, "weights.safetensors")))
    report = {"mode": "check"}
    if "probability" in arrays:
        probability = inference_of(net, args)(arrays["data"]).float()
        report["probability"] = (probability - arrays["probability"]).abs().max().item()
    else:
        masks = arrays["label"][0] > 0
        net = net.to(memory_format=layout_of(args))
        maps = training_of(net, args)(arrays["data"])
        losses = torch.stack([bin_loss(logits, masks) for logits in maps])
        losses.sum().backward()
        report["losses"] = ((losses - arrays["losses"]).abs() / losses.abs()).max().item()
        report["gradients"] = max(
            ((p.grad.flatten() - arrays[keys[name]]).norm() / p.grad.norm()).item()
            for name, p in net.named_parameters()
            if p.requires_grad
        )
    print(json.dumps(report))


def export(args):
    """The net of inference as ONNX, for one size, with the weights that bench_net wrote."""
    net = LSeg()
    load(net, read_safetensors(os.path.join(args.dir, "weights.safetensors")))
    data = torch.zeros(1, 3, args.height, args.width)
    torch.onnx.export(
        Inference(net).eval(), (data,), args.onnx, dynamo=True, external_data=False, verbose=False,
        input_names=["data"], output_names=["probability"],
    )  # fmt: skip
    print(json.dumps({"mode": "export", "version": torch.__version__}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode", choices=["forward", "train", "check", "export"])
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--height", type=int, default=960)
    parser.add_argument("--format", choices=["nchw", "channels_last"], default="nchw")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--dir", help="of check and export: where bench_net --save wrote")
    parser.add_argument("--onnx", help="of export: the file to write")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    {"check": check, "export": export}.get(args.mode, run)(args)


if __name__ == "__main__":
    main()
