"""L-Seg on the CPU beside PyTorch, ONNX Runtime and OpenVINO, in one run, and the figures as JSON.

Each measurement is a fresh process, so that its peak memory is its own; the candidates take turns,
so that a busy spell of the machine hits all of them. First it is checked that all compute the same.
Own rows are the whole program, lseg_infer, decoding and writing included: (five photographs - one)
/ 4; and the net alone, bench_net, which is what is timed of the peers. A candidate that fails is
listed with its reason. Run it with a Python that has the peers, outside of the source tree:

  python3 -m venv ~/peers && ~/peers/bin/pip install torch onnx onnxscript onnxruntime openvino
  cmake --build build --target lseg_infer lseg_prep bench_net bench_cpu_peak
  ~/peers/bin/python benchmarks/bench_cpu.py --build build
  ~/peers/bin/python benchmarks/bench_cpu.py --build build --quick     # that it runs, no figures

On 2 cores it takes about an hour and a half; --rounds 3 --native-rounds 1 half of that.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import bench_agreement
import bench_shares

HERE = os.path.dirname(os.path.abspath(__file__))
TORCH = os.path.join(HERE, "bench_torch.py")
ONNX = os.path.join(HERE, "bench_onnx.py")
PHOTOGRAPHS = 5


class Failed(Exception):
    pass


def run(command, env):
    """Seconds, peak resident bytes, and the last line of what it prints."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if process.returncode != 0:
            lines = err.read().strip().splitlines() or ["no message"]
            raise Failed(f"exit code {process.returncode}: {lines[-1][:300]}")
        lines = out.read().strip().splitlines() or [""]
        return {"wall": seconds, "peak_rss_bytes": usage.ru_maxrss * 1024, "answer": lines[-1]}


class Net:
    """A command whose last line is JSON with the seconds of each pass."""

    def __init__(self, name, precision, command):
        self.name, self.precision, self.command = name, precision, command

    def measure(self, env):
        result = run(self.command, env)
        answer = json.loads(result["answer"])
        return {"seconds": answer["seconds"], "peak_rss_bytes": result["peak_rss_bytes"],
                "answer": answer}  # fmt: skip


class Program:
    """lseg_infer on one photograph and on five."""

    def __init__(self, name, precision, command, photographs):
        self.name, self.precision, self.command = name, precision, command
        self.inputs = photographs

    def measure(self, env):
        one, five = (run([*self.command, "--input", path], env) for path in self.inputs)
        return {"seconds": [(five["wall"] - one["wall"]) / (PHOTOGRAPHS - 1)],
                "peak_rss_bytes": five["peak_rss_bytes"],
                "one_photograph": one["wall"], "five_photographs": five["wall"]}  # fmt: skip


class Workshop:
    """Programs, files and settings of a run."""

    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.infer, self.prep = (os.path.join(args.build, "tools", name)
                                 for name in ("lseg_infer", "lseg_prep"))  # fmt: skip
        self.bench, peak = (os.path.join(args.build, "benchmarks", name)
                            for name in ("bench_net", "bench_cpu_peak"))  # fmt: skip
        for program in (self.infer, self.prep, self.bench, peak):
            if not os.path.exists(program):
                sys.exit(f"{program} is not there: build everything, with -DLSEG_BENCHMARKS=ON")
        # Every candidate as it is by itself: settings of OpenMP help the one and hurt the other.
        self.env = {k: v for k, v in os.environ.items() if not re.match("OMP_|GOMP_|KMP_", k)}
        self.env["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(folder, "inductor")
        self.saved = os.path.join(folder, "saved")
        self.weights = args.weights or os.path.join(self.saved, "weights.safetensors")

    def path(self, name):
        return os.path.join(self.folder, name)

    def photographs(self, size):
        """Lists of one and of five drawn photographs of a size."""
        drawn, flat = self.path(f"drawn_{size[0]}"), self.path(f"photographs_{size[0]}")
        if not os.path.exists(flat):
            run([self.prep, "synth", "--out", drawn, "--images", str(PHOTOGRAPHS), "--width",
                 str(size[0]), "--height", str(size[1])], self.env)  # fmt: skip
            os.makedirs(flat)
            for folder, _, names in os.walk(drawn):
                for name in names:
                    if name.endswith(".jpg"):
                        shutil.copy(os.path.join(folder, name), flat)
            shutil.rmtree(drawn)
        lists = []
        for count in (1, PHOTOGRAPHS):
            lists.append(f"{flat}_{count}.txt")
            with open(lists[-1], "w") as file:
                for name in sorted(os.listdir(flat))[:count]:
                    file.write(os.path.join(flat, name) + "\n")
        return lists

    def onnx(self, size):
        path = self.path(f"{size[0]}x{size[1]}.onnx")
        if not os.path.exists(path):
            run([sys.executable, TORCH, "export", "--dir", self.saved, "--width", str(size[0]),
                 "--height", str(size[1]), "--onnx", path], self.env)  # fmt: skip
        return path


def torch_rows(args, mode, common):
    rows = []
    for precision in args.precisions:
        for name, flags in [("eager", []), ("channels_last", ["--format", "channels_last"]),
                            ("compile", ["--compile"]),
                            ("compile channels_last", ["--compile", "--format", "channels_last"])]:
            command = [sys.executable, TORCH, mode, *common, "--precision", precision, *flags]
            rows.append(Net(f"PyTorch {name}", precision, command))
    return rows


def infer_rows(shop, size, native):
    args = shop.args
    threads = ["--threads", str(args.threads)]
    sides = ["--width", str(size[0]), "--height", str(size[1])]
    passes = ["--repeat", str(1 if native else args.repeat), *threads]
    rows = []
    for precision in args.precisions:
        program = [shop.infer, "--weights", shop.weights, "--out", shop.path("maps"), "--precision",
                   precision, *threads, *args.infer_flags.split()]  # fmt: skip
        # Untrained weights give noise around 0.5: without classes it costs nothing to write.
        program += [] if args.weights else ["--threshold", "1"]
        own = [*program, "--native"] if native else [*program, *sides]
        rows.append(Program("L-Seg, program", precision, own, shop.photographs(size)))
        if native:
            rows.append(Program("L-Seg, program, --memory 2G", precision, [*own, "--memory", "2G"],
                                shop.photographs(size)))  # fmt: skip
        else:
            rows.append(Program(f"L-Seg, program, photographs of {args.native[0]}x{args.native[1]}",
                                precision, own, shop.photographs(args.native)))  # fmt: skip
        rows.append(Net("L-Seg, net", precision, [shop.bench, "forward", *sides, *passes,
                                                  "--precision", precision]))  # fmt: skip
    rows += torch_rows(args, "forward", [*sides, *passes])
    runtimes = [("ONNX Runtime", "onnxruntime", "f32"), ("OpenVINO", "openvino", "f32"),
                ("OpenVINO", "openvino", "bf16")]  # fmt: skip
    for name, runtime, precision in runtimes:
        if precision in args.precisions:
            command = [sys.executable, ONNX, runtime, "--onnx", shop.onnx(size), *passes]
            rows.append(Net(name, precision, [*command, "--precision", precision]))
    return rows


def train_rows(shop, size):
    args = shop.args
    common = ["--width", str(size[0]), "--height", str(size[1]), "--repeat", str(args.repeat),
              "--threads", str(args.threads)]  # fmt: skip
    own = [Net("L-Seg, net", precision, [shop.bench, "train", *common, "--precision", precision])
           for precision in args.precisions]  # fmt: skip
    return own + torch_rows(args, "train", common)


def summarize(rows, runs, errors):
    summary = []
    for row in rows:
        entry = {"name": row.name, "precision": row.precision, "runs": runs[row]}
        seconds = [s for one in runs[row] for s in one["seconds"]]
        if seconds:
            entry |= {"median_seconds": statistics.median(seconds), "fastest_seconds": min(seconds),
                      "slowest_seconds": max(seconds),
                      # A first process of torch.compile holds its compilers, too.
                      "median_peak_rss_bytes": statistics.median(
                          one["peak_rss_bytes"] for one in runs[row])}  # fmt: skip
        if row in errors:
            entry["error"] = errors[row]
        summary.append(entry)
    for entry in summary:  # beside the program, or in training the net, of the same precision
        own = next((e for e in summary if e["precision"] == entry["precision"]
                    and e["name"].startswith("L-Seg")), {})  # fmt: skip
        for name, key in [("times_as_long_as_lseg", "median_seconds"),
                          ("times_the_memory_of_lseg", "median_peak_rss_bytes")]:
            if key in entry and key in own:
                entry[name] = entry[key] / own[key]
    return summary


def measure(shop, scene, rows, rounds):
    runs, errors = {row: [] for row in rows}, {}
    for turn in range(rounds):
        for row in rows:
            if row in errors:
                continue
            label = f"{scene} {turn + 1}/{rounds} {row.name}, {row.precision}"
            try:
                result = row.measure(shop.env)
                runs[row].append(result)
                print(f"{label}: {statistics.median(result['seconds']):.3f} s, "
                      f"{result['peak_rss_bytes'] / 1e9:.2f} GB", flush=True)  # fmt: skip
            except Failed as error:
                errors[row] = str(error)
                print(f"{label}: {error}", flush=True)
    return summarize(rows, runs, errors)


def add_shares(shop, report, name, mode, size):
    """What each layer takes of the processor's limits."""
    if "peak" not in report:
        report["peak"] = bench_shares.limits(shop.args.build, shop.env)
    for precision in shop.args.precisions:
        try:
            report.setdefault("layers", {})[f"{name}, {precision}"] = bench_shares.shares(
                shop.args.build, report["peak"], mode, size, precision, shop.args.threads, shop.env)
        except RuntimeError as error:
            print(f"layers of {name}, {precision}: {error}", flush=True)


def first_line(command, **kwargs):
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True, **kwargs)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return (result.stdout.splitlines() or [""])[0]


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
        "family_model": [cpuinfo.get("cpu family"), cpuinfo.get("model")],
        "cores": len(os.sched_getaffinity(0)),
        "extensions": [flag for flag in known if flag in flags],
        "memory_bytes": total,
        "system": platform.system() + " " + platform.machine(),
        "compiler": first_line(["c++", "--version"]),
    }


def commit():
    name = first_line(["git", "rev-parse", "HEAD"], cwd=HERE)
    changed = first_line(["git", "status", "--porcelain", "--untracked-files=no"], cwd=HERE)
    return name + (" with changes" if changed else "")


def print_tables(scenes):
    for scene, summary in scenes.items():
        print(f"\n{scene:52}{'':6}{'median s':>10}{'peak GB':>10}{'time':>8}{'memory':>8}")
        for entry in summary:
            text = f"{entry['name']:52}{entry['precision']:6}"
            if "error" in entry:
                print(text + " " + entry["error"])
                continue
            text += f"{entry['median_seconds']:>10.3f}"
            text += f"{entry['median_peak_rss_bytes'] / 1e9:>10.2f}"
            for ratio in ("times_as_long_as_lseg", "times_the_memory_of_lseg"):
                text += f"{entry[ratio]:>8.2f}" if ratio in entry else f"{'-':>8}"
            print(text)


def parse_size(text):
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is not WIDTHxHEIGHT")
    return int(match[1]), int(match[2])


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help="folder of the built programs")
    parser.add_argument("--weights", help="for the program (default: bench_net's, untrained)")
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes of each candidate")
    parser.add_argument("--native-rounds", type=int, default=2, help="likewise, of the large size")
    parser.add_argument("--repeat", type=int, default=3, help="timed passes in a process")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--working", type=parse_size, default=(1440, 960), metavar="WxH")
    parser.add_argument("--native", type=parse_size, default=(4288, 2848), metavar="WxH")
    parser.add_argument("--train", type=parse_size, default=(720, 480), metavar="WxH")
    parser.add_argument("--scenes", nargs="+", choices=["working", "native", "train"],
                        default=["working", "train", "native"])
    parser.add_argument("--precisions", nargs="+", choices=["f32", "bf16"], default=["f32", "bf16"])
    parser.add_argument("--only", default="", help="candidates whose name this expression finds")
    parser.add_argument("--infer-flags", default="", help="more flags of lseg_infer")
    parser.add_argument("--quick", action="store_true", help="one round at small sizes, no figures")
    parser.add_argument("--out", help="JSON file (default: in benchmarks/results)")
    args = parser.parse_args()
    if args.quick:
        args.rounds = args.native_rounds = args.repeat = 1
        args.working, args.native, args.train = (240, 160), (360, 248), (240, 160)
    return args


def main():
    args = parse_args()
    report = {"date": datetime.date.today().isoformat(), "commit": commit(), "machine": machine(),
              "threads": args.threads, "load_average_at_the_start": os.getloadavg()[0],
              "scenes": {}}  # fmt: skip
    cpu = re.sub(r"[^a-z0-9]+", "_", report["machine"]["cpu"].lower()).strip("_")
    out = args.out or os.path.join(HERE, "results", f"cpu_{report['date']}_{cpu}.json")
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(args, folder)
        try:
            report["agreement"] = bench_agreement.check(shop, run, Failed)
        except Failed as error:
            sys.exit(f"no agreement: {error}")
        sizes = {"working": args.working, "native": args.native, "train": args.train}
        for scene in args.scenes:
            size = sizes[scene]
            rows = train_rows(shop, size) if scene == "train" else infer_rows(shop, size,
                                                                              scene == "native")
            rows = [row for row in rows if re.search(args.only, row.name)]
            name = f"{'training step' if scene == 'train' else 'inference'} {size[0]}x{size[1]}"
            rounds = args.native_rounds if scene == "native" else args.rounds
            report["scenes"][name] = measure(shop, name, rows, rounds)
            if scene != "native":
                add_shares(shop, report, name, "train" if scene == "train" else "forward", size)
            report["load_average_at_the_end"] = os.getloadavg()[0]
            if not args.quick or args.out:  # after each scene: a long run may be cut short
                os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
                with open(out, "w") as file:
                    json.dump(report, file, indent=1)
                    file.write("\n")
    print_tables(report["scenes"])


if __name__ == "__main__":
    main()
