"""L-Seg in PyTorch on a GPU: the peer that bench_net and bench_gpu are timed beside.

Times the convolutions of bench_gpu in cuDNN, a large matrix product, whole inference and a whole
training step, each in the ways in which PyTorch is fast: channels_last, bf16, torch.compile, CUDA
graphs. A way that fails is listed with its error. Figures are written as they come:

  python3 bench_torch_gpu.py --json torch.json
  python3 bench_torch_gpu.py --device cpu --smoke       # that it runs, no figures
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F

import bench_torch

LESIONS, KEY = bench_torch.LESIONS, bench_torch.KEY
EDGES = [-1.3862944, -0.4054651, 0.4054651, 1.3862944]  # the logits of .2 .4 .6 .8
# As in bench_gpu_conv.cc: name, channels in and out, kernel, shrink of the image, times in the net.
CONVS = [
    ("conv1_1", 3, 64, 3, 1, 1), ("conv1_2", 64, 64, 3, 1, 1), ("conv2_1", 64, 128, 3, 2, 1),
    ("conv2_2", 128, 128, 3, 2, 1), ("conv3_1", 128, 256, 3, 4, 1), ("conv3_2", 256, 256, 3, 4, 2),
    ("conv4_1", 256, 512, 3, 8, 1), ("conv4_2", 512, 512, 3, 8, 2), ("conv5_1", 512, 512, 3, 16, 3),
    ("score1", 64, 4, 1, 1, 1), ("score2", 128, 4, 1, 2, 1), ("score3", 256, 4, 1, 4, 1),
    ("score4", 512, 4, 1, 8, 1), ("score5", 512, 4, 1, 16, 1),
]  # fmt: skip
ROTATED_BYTES = 200 << 20  # inputs take turns, so that none is found in the cache


class Bench:
    def __init__(self, args):
        self.args = args
        self.device = torch.device(args.device)
        self.cuda = self.device.type == "cuda"
        self.start = time.monotonic()
        self.report = {
            "torch": torch.__version__,
            "gpu": torch.cuda.get_device_name() if self.cuda else "none",
            "cudnn": torch.backends.cudnn.version(),
            "smoke": args.smoke,
        }

    def out_of_time(self):
        return time.monotonic() - self.start > self.args.seconds

    def synchronize(self):
        if self.cuda:
            torch.cuda.synchronize()

    def add(self, kind, entry):
        self.report.setdefault(kind, []).append(entry)
        print(kind, json.dumps(entry), flush=True)
        if self.args.json:
            with open(self.args.json, "w") as file:
                json.dump(self.report, file, indent=1)

    def op_ms(self, op):
        """Median of one op's time; op(i) queues the i-th run. Recorded, so launches cost nothing."""
        for i in range(3):
            op(i)
        self.synchronize()
        if not self.cuda:
            return self.wall_ms(lambda: op(0))
        once = self.event_ms(lambda: op(1))
        batch = max(1, min(64, int(4 / max(once, 1e-3))))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for i in range(batch):
                op(i)
        graph.replay()
        return statistics.median(self.event_ms(graph.replay) / batch for _ in range(7))

    @staticmethod
    def event_ms(queue):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        queue()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end)

    def wall_ms(self, step, warmup=4, repeat=20):
        """Median of passes, each waited for, as bench_net takes it."""
        if not self.cuda:
            warmup, repeat = 1, 1
        for _ in range(warmup):
            step()
        self.synchronize()
        times = []
        for _ in range(repeat):
            start = time.perf_counter()
            step()
            self.synchronize()
            times.append(1e3 * (time.perf_counter() - start))
        return statistics.median(times)


def bench_ceilings(bench):
    size = 64 if bench.args.smoke else 8192
    a, b = (torch.randn(size, size, device=bench.device).bfloat16() for _ in range(2))
    ms = bench.op_ms(lambda i: torch.mm(a, b))
    bench.add("ceilings", {"what": f"matmul bf16 {size}", "ms": ms, "tflops": 2 * size**3 / ms / 1e9})
    count = (1 << 20) if bench.args.smoke else (1 << 30)
    src = torch.randint(0, 255, (count,), dtype=torch.uint8, device=bench.device)
    dst = torch.empty_like(src)
    ms = bench.op_ms(lambda i: dst.copy_(src))
    bench.add("ceilings", {"what": f"copy of {count} bytes", "ms": ms, "gb_per_s": 2 * count / ms / 1e6})


def conv_ops(conv, shape, device):
    """By direction, op(i) on the i-th of several sets of tensors."""
    _, inner, outer, kernel, shrink, _ = conv
    n, height, width = shape[0], max(shape[1] // shrink, 1), max(shape[2] // shrink, 1)
    size = 2 * n * (inner + outer) * height * width + 2 * inner * outer * kernel * kernel
    copies = min(32, max(1, -(-ROTATED_BYTES // size))) if device.type == "cuda" else 1

    def make(*dims):
        values = torch.rand(*dims, device=device, dtype=torch.bfloat16) * 2 - 1
        return values.to(memory_format=torch.channels_last)

    x = [make(n, inner, height, width) for _ in range(copies)]
    y = [make(n, outer, height, width) for _ in range(copies)]
    w = [make(outer, inner, kernel, kernel) for _ in range(copies)]
    b = torch.rand(outer, device=device, dtype=torch.bfloat16)
    pad = kernel // 2

    def backward(i, mask):
        i %= copies
        return torch.ops.aten.convolution_backward(
            y[i], x[i], w[i], [outer], [1, 1], [pad, pad], [1, 1], False, [0, 0], 1, mask
        )

    ops = {
        "forward": lambda i: F.conv2d(x[i % copies], w[i % copies], None, padding=pad),
        "forward with bias": lambda i: F.conv2d(x[i % copies], w[i % copies], b, padding=pad),
        "backward data": lambda i: backward(i, [True, False, False]),
        "backward weights": lambda i: backward(i, [False, True, False]),
        "backward weights with bias": lambda i: backward(i, [False, True, True]),
    }
    if inner == 3:
        del ops["backward data"]
    flops = 2 * n * height * width * inner * outer * kernel * kernel
    return ops, flops


def bench_convs(bench, shape):
    for conv in CONVS:
        ops, flops = conv_ops(conv, shape, bench.device)
        for direction, op in ops.items():
            if bench.out_of_time():
                return
            with torch.no_grad():
                ms = bench.op_ms(op)
            entry = {
                "conv": conv[0],
                "times_in_net": conv[5],
                "direction": direction,
                "size": f"{shape[2]}x{shape[1]} n{shape[0]}",
                "ms": ms,
                "tflops": flops / ms / 1e9,
            }
            bench.add("convolutions", entry)


def bin_losses(logits, masks):
    """The bin losses of several maps at once, (M,N,C,P) logits and (N,C,P) masks: a sum over maps
    of means over images, divided by pixels. As bench_torch.bin_loss, which is for one image."""
    z, positive = logits.float(), masks
    bins = sum((z.detach() >= edge).to(torch.int8) for edge in EDGES)
    counts = torch.stack([((bins == b) & ~positive).sum(-1) for b in range(4, -1, -1)])
    positives = positive.sum(-1)
    before = counts.cumsum(0) - counts
    taken = (before < KEY * positives) | (positives == 0)
    lowest = 5 - taken.sum(0)
    negative = (bins >= lowest[..., None]) & ~positive
    count_pos = positives.sum(-1)
    count_neg = ((counts * taken).sum(0) // LESIONS).sum(-1)
    total = (count_pos + count_neg).clamp(min=1)
    loss = (F.softplus(-z) * positive).sum((-1, -2)) * (count_neg / total)
    loss = loss + (F.softplus(z) * negative).sum((-1, -2)) * (count_pos / total)
    return loss.mean(-1).sum() / z.shape[-1]


def check_bin_losses():
    """Against the plain loss of bench_torch, image by image and map by map."""
    torch.manual_seed(3)
    maps = [torch.randn(2, LESIONS, 24, 32) * 3 for _ in range(3)]
    masks = torch.rand(2, LESIONS, 24, 32) < 0.05
    masks[0, 1] = False
    got = bin_losses(torch.stack(maps).flatten(3), masks.flatten(2))
    want = sum(
        bench_torch.bin_loss(m[n : n + 1], masks[n]) / 2 for m in maps for n in range(2)
    )
    # Both sum a few thousand terms in f32, in another order.
    assert abs(got - want) < 1e-5 * abs(want), (got, want)


def captured(step):
    """`step` as one CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def image(bench, shape, dtype):
    data = torch.rand(shape[0], 3, shape[1], shape[2], device=bench.device) * 64 - 32
    return data.to(dtype=dtype, memory_format=torch.channels_last)


def inference_ways(bench, shape):
    """Name and a function that gives the step: each makes its model anew."""

    def model(dtype):
        torch.manual_seed(1)
        net = bench_torch.Inference(bench_torch.LSeg()).eval().to(bench.device, dtype)
        return net.to(memory_format=torch.channels_last)

    def autocast():
        net, data = model(torch.float32), image(bench, shape, torch.float32)

        def step():
            with torch.autocast(bench.device.type, torch.bfloat16):
                net(data)

        return step

    def plain(compile_mode):
        net, data = model(torch.bfloat16), image(bench, shape, torch.bfloat16)
        if compile_mode:
            net = torch.compile(net, mode=compile_mode, dynamic=False)
        return lambda: net(data)

    ways = {"bf16": lambda: plain(None)}
    if bench.cuda:
        ways["bf16, CUDA graph"] = lambda: captured(plain(None))
        ways["bf16 compiled, CUDA graph"] = lambda: captured(plain("default"))
    ways["autocast"] = autocast
    return ways


def training_ways(bench, shape):
    def make(compiled):
        torch.manual_seed(1)
        net = bench_torch.LSeg().to(bench.device).to(memory_format=torch.channels_last)
        data = image(bench, shape, torch.float32)
        masks = bench_torch.lesion_masks(shape[1], shape[2]).flatten(1)
        masks = masks.expand(shape[0], -1, -1).contiguous().to(bench.device)
        parameters = [p for p in net.parameters() if p.requires_grad]
        solver = torch.optim.SGD(
            parameters, lr=1e-9, momentum=0.9, weight_decay=2e-4, foreach=True
        )

        def loss_of(data, masks):
            with torch.autocast(bench.device.type, torch.bfloat16):
                sides, fused = net(data)
            return bin_losses(torch.stack([*sides, fused]).flatten(3), masks)

        function = torch.compile(loss_of, dynamic=False) if compiled else loss_of

        def step():
            solver.zero_grad(set_to_none=True)
            function(data, masks).backward()
            solver.step()

        return step

    ways = {"autocast": lambda: make(False)}
    if bench.cuda:
        ways["autocast compiled"] = lambda: make(True)
        ways["autocast compiled, CUDA graph"] = lambda: captured(make(True))
    return ways


def bench_net(bench, kind, shape, ways, repeat):
    for way, make in ways.items():
        entry = {"way": way, "batch": shape[0], "size": f"{shape[2]}x{shape[1]}"}
        if bench.out_of_time():
            bench.add(kind, entry | {"failed": "no time left"})
            continue
        if bench.cuda:
            torch._dynamo.reset()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            with torch.inference_mode(kind == "inference"):
                ms = bench.wall_ms(make(), repeat=repeat)
        except Exception as error:  # a way that does not work is a finding, not the end
            bench.add(kind, entry | {"failed": f"{type(error).__name__}: {error}"[:300]})
            continue
        entry |= {"ms": ms, "images_per_second": 1e3 * shape[0] / ms}
        if bench.cuda:
            entry["peak_allocated_bytes"] = torch.cuda.max_memory_allocated()
            entry["peak_reserved_bytes"] = torch.cuda.max_memory_reserved()
        bench.add(kind, entry)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument("--seconds", type=float, default=170, help="nothing is begun after them")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    check_bin_losses()
    bench = Bench(args)
    large, small = (960, 1440), (480, 720)
    if args.smoke:
        large = small = (48, 64)
    bench_ceilings(bench)
    bench_convs(bench, (1, *large))
    for batch in (1, 4, 8):
        shape = (batch, *large)
        bench_net(bench, "inference", shape, inference_ways(bench, shape), repeat=20)
    for shape in ((1, *large), (4, *small)):
        bench_net(bench, "training", shape, training_ways(bench, shape), repeat=10)
    bench_convs(bench, (4, *small))
    bench_convs(bench, (1, *small))


if __name__ == "__main__":
    main()
