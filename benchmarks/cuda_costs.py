#!/usr/bin/env python3
"""What every kernel of kernels/cuda costs by softgpu's counts, as tables in Markdown.

    cuda_costs.py BUILD > benchmarks/cuda_costs.md    # BUILD: with LSEG_BENCHMARKS and LSEG_TESTS

Runs `bench_gpu --costs` on softgpu (about two minutes) and ptxas over the PTX of the kernels, for
registers and spills. Fails where a kernel of the sources did not run or has no row in cuda.md, where a
convolution spills, or where one's sectors or passes over shared memory exceed the ideal by more than
2 % and EXCESS does not say why.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import cuda_resources  # noqa: E402

ARCH = "sm_90"
MMA_FLOPS = {"float": 2048, "other": 4096}  # of a warp's m16n8k8 in tf32, m16n8k16 in 16 bits
TOLERATED = 0.02

# Why a convolution's kernel moves more than the ideal: pattern of names -> reason.
READ, WRITTEN, SHARED = "sectors read", "sectors written", "shared memory"
EXCESS = {
    (r"Direct", READ): "a thread an output gathers its own weights and pixels, in every format; for "
    "layers that no other engine takes",
    (r"First(Forward|BackwardWeights)", READ): "weights are gathered once a block, which on an image "
    "of 1440x960 is a 200th of what is read; rows of a tile begin one pixel before a sector",
    (r"First(Forward|BackwardWeights)", SHARED): "an operand's lanes read taps of four rows of the "
    "tile, which meet in banks now and then; what binds is memory",
    (r"PackConvGemm", SHARED): "weights come tap by tap and change places: lanes meet in a bank "
    "where they are stored (and, without tensor cores, read); the way to and from memory takes "
    "twice as long",
    (r"Score(Forward|BackwardData)", READ): "weights in f32, once a block: a lane takes 32 bytes of "
    "them by two loads",
    (r"ScoreBackwardWeights", WRITTEN): "a block's sums, once, in rows of one more than the "
    "channels",
    (r"ScoreBackwardWeights", SHARED): "a block's last sums, once, are added up across its threads "
    "without regard to banks",
    (r"SimtWeights", READ): "an image in NCHW: neighbouring lanes have taps and channels, not "
    "pixels",
    (r"SimtWeights", WRITTEN): "a block's sums, once: a thread has four neighbours of four rows, "
    "and stores them one by one",
    (r"SumPartials<(First|Simt)", WRITTEN): "sums by tap go to OIHW, whose rows are the taps: once "
    "a weight",
    (r"SumPartials<WeightsThenBias", READ): "parts of five planes' six sums, which fill no sector",
    (r"SumPartials<WeightsThenBias", WRITTEN): "six sums to two tensors",
}


def git(*words):
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True,
                          check=True).stdout.strip()


def run_benchmark(build, arch, *options):
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.json")
        command = [os.path.join(build, "tests/softgpu/softgpu-run"), "--report", report,
                   os.path.join(build, "benchmarks/bench_gpu"), "--costs", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              env=os.environ | {"SOFTGPU_ARCH": arch})
        if done.returncode != 0:
            sys.exit(f"cuda_costs: {' '.join(command)} failed ({done.returncode}):\n" +
                     done.stdout[-2000:] + done.stderr[-2000:])
        with open(report, encoding="utf-8") as file:
            return json.load(file)["kernels"]


def resources(build):
    """Mangled name -> registers and spills, by ptxas over the PTX in the kernels' library."""
    with open(os.path.join(build, "kernels/liblseg_kernels.so"), "rb") as file:
        library = file.read()
    kernels = {}
    for match in re.finditer(rb"\n\.version [^\0]*", library):
        arch = ARCH + ("a" if b".target sm_90a" in match[0] else "")
        done = subprocess.run(["ptxas", "-v", "-arch=" + arch, "-o", os.devnull, "-"],
                              input=match[0], capture_output=True, check=False)
        log = done.stderr.decode() + done.stdout.decode()
        if done.returncode != 0:
            sys.exit("cuda_costs: ptxas failed:\n" + log[-2000:])
        for kernel in cuda_resources.parse(log.splitlines()):
            kernels[kernel["name"]] = kernel
    return kernels


def sources_kernels():
    """Function name -> file, of every kernel in kernels/cuda."""
    found = {}
    folder = os.path.join(ROOT, "kernels/cuda")
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            text = file.read()
        for match in re.finditer(r"__global__\s+void\s+(?:__launch_bounds__\((?:[^()]|\([^()]*\))*\)\s*)?"
                                 r"(\w+)\(", text):
            found[match[1]] = name
    return found


def function_of(name):
    """The function in a demangled name: 'SumNhwc<float>(...)' -> SumNhwc."""
    return re.match(r"\w+", name)[0]


def without_arguments(name):
    """Cuts the parameter list and what all instances have in common."""
    depth = 0
    for i, c in enumerate(name):
        depth += (c == "<") - (c == ">")
        if c == "(" and depth == 0 and i > 0:
            name = name[:i]
            break
    name = re.sub(r"\((?:bool|int)\)", "", name)
    name = re.sub(r"Conv(?:Gemm|Wgmma)Tile<(\d+), (\d+)(?:, \d+)+>",
                  lambda m: f"{int(m[1]) * 16}x{m[2]}", name)
    return name.replace("__nv_bfloat16", "bf16").replace("__half", "f16")


def ratio(moved, ideal):
    return moved / ideal - 1 if ideal else 0


def percent(share):
    return f"{100 * share:.1f} %"


def short(value):
    for unit in ("", " k", " M", " G"):
        if value < 1000 or unit == " G":
            return f"{value:.3g}{unit}"
        value /= 1000


class Row:
    def __init__(self, kernel, name, resource):
        c = kernel["counters"]
        self.name, self.function = without_arguments(name), function_of(name)
        self.launches = kernel["launches"]
        self.bytes = c["global_loads"]["bytes"] + c["global_stores"]["bytes"] + c["async_copy_bytes"]
        self.flops = sum(c["flops"].values())
        self.mma_flops = c["flops"]["mma"]
        self.instructions = c["warp_instructions"]
        self.loads = ratio(c["global_loads"]["sectors"], c["global_loads"]["ideal"])
        self.stores = ratio(c["global_stores"]["sectors"], c["global_stores"]["ideal"])
        shared = [c["shared_loads"], c["shared_stores"]]
        self.wavefronts = sum(s["wavefronts"] for s in shared)
        self.conflicts = ratio(self.wavefronts, sum(s["ideal"] for s in shared))
        self.registers, self.spills = resource["registers"], resource["spills"]
        self.occupancy = self.occupancy_of(kernel["occupancy_of_last_launch"][ARCH])
        self.bounds = sorted(kernel["h100_busy"]["bounds"].items(), key=lambda b: -b[1])

    def occupancy_of(self, by_softgpu):
        """softgpu asks for the registers of its own architecture: fewer blocks by ARCH's count."""
        warps, blocks = by_softgpu["warps"], by_softgpu["blocks"]
        by_registers = cuda_resources.warps_by_registers(self.registers) * blocks // warps
        if by_registers >= blocks:
            return by_softgpu
        return {"share": by_registers * warps // blocks / cuda_resources.WARPS, "limit": "registers"}

    def instructions_an_mma(self):
        if not self.mma_flops:
            return ""
        per = MMA_FLOPS["float" if "float" in self.name else "other"]
        return f"{self.instructions / (self.mma_flops / per):.1f}"

    def binds(self):
        first, second = self.bounds[0], self.bounds[1]
        return (f"{first[0]}, {1e6 * first[1]:.3g} us; " +
                f"{second[0]} {100 * second[1] / first[1]:.0f} %")

    def cells(self):
        shared = f"{short(self.wavefronts)}, {percent(self.conflicts)}" if self.wavefronts else ""
        occupancy = f"{percent(self.occupancy['share'])}, {self.occupancy['limit']}"
        return [f"`{self.name}`", short(self.bytes) + "B", short(self.flops), percent(self.loads),
                percent(self.stores), shared, short(self.instructions), self.instructions_an_mma(),
                str(self.registers), str(self.spills), occupancy, self.binds()]

    def excess(self):
        """What exceeds the ideal by more than is tolerated."""
        named = {READ: self.loads, WRITTEN: self.stores, SHARED: self.conflicts}
        return {what: share for what, share in named.items() if share > TOLERATED}


COLUMNS = ["kernel", "asked for", "flops", "sectors read, over the ideal", "written",
           "wavefronts, over the ideal", "warp instructions", "an mma", "registers", "spills",
           "occupancy, its limit", "binds, then"]


def table(rows):
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    return lines


def explained(rows, failures):
    """Lines that say why, for kernels beyond the ideal."""
    reasons = {}
    for row in rows:
        for what, share in row.excess().items():
            reason = next((why for (pattern, of), why in EXCESS.items()
                           if of == what and re.match(pattern, row.name)), None)
            if reason is None:
                failures.append(f"{row.name}: {what} {percent(share)} over the ideal, unexplained")
                continue
            kernels, shares = reasons.setdefault((what, reason), ([], []))
            if row.function not in kernels:
                kernels.append(row.function)
            shares.append(share)
    lines = []
    for (what, reason), (kernels, shares) in sorted(reasons.items()):
        names = ", ".join(f"`{kernel}`" for kernel in kernels)
        lines.append(f"- {what}, {percent(min(shares))} to {percent(max(shares))} over the ideal, "
                     f"{names}: {reason}")
    return lines


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    build = sys.argv[1]
    kernels, compiled = run_benchmark(build, "80"), resources(build)
    # Those for one architecture alone, and what packs their weights, which is known already.
    known = {k["mangled"] for k in kernels}
    kernels += [k for k in run_benchmark(build, "90", "--only", "wgmma_")
                if k["mangled"] not in known]
    names = cuda_resources.demangle([k["mangled"] for k in kernels])
    rows = [Row(k, names[k["mangled"]], compiled[k["mangled"]]) for k in kernels
            if k["mangled"] in compiled]
    rows.sort(key=lambda row: row.name)
    sources = sources_kernels()
    failures = [f"{kernel} ({file}) never ran" for kernel, file in sorted(sources.items())
                if kernel not in {row.function for row in rows}]
    with open(os.path.join(ROOT, "benchmarks/cuda.md"), encoding="utf-8") as file:
        status = set(re.findall(r"^\| `(\w+)` \|", file.read(), re.MULTILINE))
    failures += [f"{kernel}: in the sources or in cuda.md's status table, not in both"
                 for kernel in sorted(status ^ set(sources))]
    convolutions = [row for row in rows if sources[row.function].startswith("conv")]
    others = [row for row in rows if not sources[row.function].startswith("conv")]
    failures += [f"{row.name} spills {row.spills} bytes" for row in convolutions if row.spills]
    why = explained(convolutions, failures)
    dirty = ", changed since" if git("status", "--porcelain", "kernels/cuda") else ""
    print(HEAD.format(tree=git("rev-parse", "--short", "HEAD:kernels/cuda") + dirty))
    print("## Convolutions\n\n" + "\n".join(table(convolutions)) + "\n")
    print("Beyond the ideal by more than 2 %:\n\n" + "\n".join(why) + "\n")
    print("## What memory bounds\n\n" + "\n".join(table(others)))
    if failures:
        sys.exit("cuda_costs: " + "\n  ".join(failures))


HEAD = """# What the CUDA kernels cost, counted by softgpu

Made by `benchmarks/cuda_costs.py` of the kernels in Git's tree {tree} (a commit has them if
`git rev-parse COMMIT:kernels/cuda` says so): `bench_gpu --costs` runs every kernel at small sizes
(L-Seg's net at 96x64, other ops at 192x128) on softgpu; registers and spills are ptxas's for sm_90.
Counts do not depend on the machine. A row is one instance of a kernel, all its launches together;
[cuda.md](cuda.md) has times on a GPU.

- *asked for*: bytes that lanes load and store in global memory; *flops*: a multiply-add counts two.
- *over the ideal*: 32-byte sectors moved beyond those that the distinct bytes of a warp's access
  fill; passes over shared memory beyond those without a bank conflict.
- *an mma*: warp instructions for each m16n8k16 (m16n8k8 in tf32), prologue and stores included,
  which weigh more at these sizes than at an image's.
- *occupancy*: of the last launch, on sm_90.
- *binds*: the resource of an H100 that would be busy longest, with all multiprocessors at work and
  every sector taken from memory, for how long, and how busy the next one is meanwhile.
"""

if __name__ == "__main__":
    main()
