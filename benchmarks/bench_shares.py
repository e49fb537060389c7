"""What each layer takes of the processor's limits: bench_net's layers beside bench_cpu_peak.

Convolutions are counted as multiply-adds of the direct algorithm, of which Winograd's does a part
only: its share may be above 1. Every op is also counted as the bytes of the tensors that it reads
and writes, as if each went to memory once: a share near 1 is bound by memory.

  python3 bench_shares.py --build build forward --width 1440 --height 960 --precision bf16
"""

import argparse
import json
import os
import re
import subprocess

TRUNK = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]  # convolutions and channels of each stage


def convolutions(width, height):
    """Multiplications and additions of each convolution of the trunk, forward."""
    work, channels = {}, 3
    for stage, (count, out) in enumerate(TRUNK, 1):
        for i in range(1, count + 1):
            work[f"conv{stage}_{i}"] = 2 * 9 * channels * out * width * height
            channels = out
        width, height = (width + 1) // 2, (height + 1) // 2
    return work


def operations(layer, op, work):
    """Of a node: a convolution, or a chain of some, named "conv1_1 to conv1_2"; forward, or one of
    the two gradients, each of which takes as many."""
    names = list(work)
    ends = [name for name in re.findall(r"conv\d_\d", layer) if name in work]
    if not ends or not op.startswith("conv"):
        return 0
    return sum(work[name] for name in names[names.index(ends[0]) : names.index(ends[-1]) + 1])


def last_json(command, env):
    result = subprocess.run(command, capture_output=True, text=True, env=env)
    if result.returncode != 0:
        raise RuntimeError((result.stderr.strip().splitlines() or ["no message"])[-1])
    return json.loads(result.stdout.strip().splitlines()[-1])


def limits(build, env=None):
    return last_json([os.path.join(build, "benchmarks", "bench_cpu_peak")], env)


def shares(build, peak, mode, size, precision, threads, env=None):
    """Of each node: its time, and the shares of the peaks that it reaches."""
    command = [os.path.join(build, "benchmarks", "bench_net"), mode, "--width", str(size[0]),
               "--height", str(size[1]), "--precision", precision, "--threads", str(threads),
               "--layers"]  # fmt: skip
    work = convolutions(*size)
    nodes = last_json(command, env)["layers"]
    for node in nodes:
        seconds = node["ms"] / 1e3
        count = operations(node["layer"], node["op"], work)
        if count and peak[f"{precision}_operations_per_second"]:
            rate = count / seconds
            node["share_of_peak"] = rate / peak[f"{precision}_operations_per_second"]
        node["share_of_bandwidth"] = node["bytes"] / seconds / peak["read_bytes_per_second"]
    return nodes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode", choices=["forward", "train"])
    parser.add_argument("--build", required=True)
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--height", type=int, default=960)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    peak = limits(args.build)
    print(f"peak, {args.precision}: {peak[args.precision + '_operations_per_second'] / 1e9:.0f} "
          f"GFLOP/s, memory: {peak['read_bytes_per_second'] / 1e9:.1f} GB/s")  # fmt: skip
    size = (args.width, args.height)
    for node in shares(args.build, peak, args.mode, size, args.precision, args.threads):
        of_peak = f"{node['share_of_peak']:8.2f} of the peak" if "share_of_peak" in node else ""
        print(f"{node['layer']:24}{node['op']:26}{node['ms']:9.2f} ms"
              f"{node['share_of_bandwidth']:8.2f} of the bandwidth{of_peak}")  # fmt: skip


if __name__ == "__main__":
    main()
