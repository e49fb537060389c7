"""Times bench_net and the same net in PyTorch alternately, in one run, and writes the figures.

Each measurement is a fresh process, so that its peak memory is its own; the candidates take turns,
so that a busy spell of the machine hits all of them. Run it with a Python that has torch:

  cmake --build build --target bench_net
  python3 benchmarks/compare_torch.py --bench build/benchmarks/bench_net --rounds 5 --compile
"""

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TORCH = os.path.join(HERE, "bench_torch.py")
# Two f32 evaluations whose convolutions sum in different orders, Winograd among them, 13 layers deep:
# the largest difference of a probability, and relative ones of losses and of gradient tensors. A
# logit at the edge of a bin may fall to either side, which moves a gradient by that pixel's share.
TOLERANCES = {"probability": 1e-4, "losses": 1e-4, "gradients": 1e-2}


def run_json(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"failed ({result.returncode}): {' '.join(command)}\n{result.stderr[-2000:]}")
    return json.loads(result.stdout.strip().splitlines()[-1])


def machine():
    cpuinfo = {}
    with open("/proc/cpuinfo") as file:
        for line in file:
            key, _, value = line.partition(":")
            cpuinfo.setdefault(key.strip(), value.strip())
    flags = cpuinfo.get("flags", "").split()
    known = ["avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_tile"]
    with open("/proc/meminfo") as file:
        total = int(file.readline().split()[1]) * 1024
    return {
        "cpu": cpuinfo.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "extensions": [flag for flag in known if flag in flags],
        "memory_bytes": total,
        "system": platform.system() + " " + platform.machine(),
        "compiler": first_line(["c++", "--version"]),
    }


def first_line(command, **kwargs):
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=True, **kwargs).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return output.splitlines()[0] if output else ""


def commit():
    name = first_line(["git", "rev-parse", "HEAD"], cwd=HERE)
    changed = first_line(["git", "status", "--porcelain", "--untracked-files=no"], cwd=HERE)
    return name + (" with changes" if changed else "")


def candidates(args, mode):
    size = ["--width", str(args.sizes[mode][0]), "--height", str(args.sizes[mode][1])]
    common = [mode, *size, "--repeat", str(args.repeat), "--warmup", "1"]
    torch = [sys.executable, TORCH, *common]
    listed = {
        "lseg": [args.bench, *common],
        "torch nchw": [*torch, "--format", "nchw"],
        "torch channels_last": [*torch, "--format", "channels_last"],
    }
    if args.compile:
        listed["torch channels_last compiled"] = [*torch, "--format", "channels_last", "--compile"]
    return listed


def compare(args, mode):
    listed = candidates(args, mode)
    runs = {name: [] for name in listed}
    for round_number in range(args.rounds):
        for name, command in listed.items():
            result = run_json(command)
            runs[name].append(result)
            median = statistics.median(result["seconds"])
            peak = result["peak_rss_bytes"] / 1e9
            print(f"{mode} {round_number + 1}/{args.rounds} {name}: {median:.3f} s, {peak:.2f} GB")
            sys.stdout.flush()
    summary = {}
    for name, results in runs.items():
        seconds = [s for result in results for s in result["seconds"]]
        summary[name] = {
            "median_seconds": statistics.median(seconds),
            "fastest_seconds": min(seconds),
            "slowest_seconds": max(seconds),
            "peak_rss_bytes": max(result["peak_rss_bytes"] for result in results),
            "runs": results,
        }
    for entry in summary.values():
        own = summary["lseg"]
        entry["times_as_long_as_lseg"] = entry["median_seconds"] / own["median_seconds"]
        entry["times_the_memory_of_lseg"] = entry["peak_rss_bytes"] / own["peak_rss_bytes"]
    return summary


def check(args):
    """Both compute the same function and gradients, or there is nothing to compare."""
    differences = {}
    for mode in args.modes:
        with tempfile.TemporaryDirectory() as folder:
            small = ["--width", "360", "--height", "240", "--repeat", "1"]
            run_json([args.bench, mode, *small, "--save", folder])
            differences |= run_json([sys.executable, TORCH, "check", "--dir", folder])
    del differences["mode"]
    for what, difference in differences.items():
        print(f"difference of the {what}: {difference:.1e}")
        if not difference < TOLERANCES[what]:
            sys.exit(f"{what} differ by {difference}, above {TOLERANCES[what]}")
    return differences


def print_table(results):
    print(f"\n{'':44}{'median s':>10}{'peak GB':>10}{'time':>8}{'memory':>8}")
    for mode, summary in results.items():
        for name, entry in summary.items():
            print(
                f"{mode + ', ' + name:44}{entry['median_seconds']:>10.3f}"
                f"{entry['peak_rss_bytes'] / 1e9:>10.2f}"
                f"{entry['times_as_long_as_lseg']:>8.2f}{entry['times_the_memory_of_lseg']:>8.2f}"
            )


def parse_size(text):
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is not WIDTHxHEIGHT")
    return int(match[1]), int(match[2])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", required=True, help="the built bench_net")
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes of each candidate")
    parser.add_argument("--repeat", type=int, default=3, help="timed passes in a process")
    parser.add_argument("--compile", action="store_true", help="torch.compile as well")
    parser.add_argument("--forward", type=parse_size, default=(1440, 960), metavar="WxH")
    parser.add_argument("--train", type=parse_size, default=(720, 480), metavar="WxH")
    parser.add_argument("--modes", nargs="+", choices=["forward", "train"],
                        default=["forward", "train"])
    parser.add_argument("--out", help="JSON file (default: benchmarks/results/cpu_<date>_<cpu>.json)")
    args = parser.parse_args()
    args.sizes = {"forward": args.forward, "train": args.train}

    about = machine()
    agreement = check(args)
    results = {mode: compare(args, mode) for mode in args.modes}
    date = datetime.date.today().isoformat()
    cpu = re.sub(r"[^a-z0-9]+", "_", about["cpu"].lower()).strip("_")
    out = args.out or os.path.join(HERE, "results", f"cpu_{date}_{cpu}.json")
    report = {
        "date": date,
        "commit": commit(),
        "machine": about,
        "load_average_at_the_end": os.getloadavg()[0],
        "agreement": agreement,
        "sizes": {mode: "x".join(map(str, args.sizes[mode])) for mode in args.modes},
        "results": results,
    }
    os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
    with open(out, "w") as file:
        json.dump(report, file, indent=1)
        file.write("\n")
    print_table(results)
    print(f"\nwritten to {out}")


if __name__ == "__main__":
    main()
