#!/usr/bin/env python3
"""What ptxas said of every kernel, as a table; fails where a convolution spills registers.

    cuda_resources.py LOG    # of a build with -Xptxas -v
    cuda_resources.py - < LOG

Columns: architecture, registers a thread, bytes of static shared memory, of the stack, of spills
(stored and loaded), and the warps of a multiprocessor (of 64) that the registers allow. Dynamic
shared memory is known at launch only: what it leaves of the occupancy is in softgpu's reports.
"""
import re
import subprocess
import sys

CONVOLUTIONS = r"(Pack)?Conv|Direct|First|Planes|Score|Simt|Sum"  # begin the names of their kernels
WARPS, REGISTERS, UNIT = 64, 65536, 256  # of a multiprocessor; a warp's are given out in units


def demangle(names):
    text = subprocess.run(["c++filt", "-p"], input="\n".join(names), capture_output=True,
                          text=True, check=True).stdout
    short = []
    for name in text.splitlines():
        name = re.sub(r"\(anonymous namespace\)::|lseg::cuda::|lseg::", "", name)
        short.append(re.sub(r"^void ", "", name))
    return dict(zip(names, short))


def parse(log):
    kernels, current = [], None
    for line in log:
        if match := re.search(r"Compiling entry function '(\S+)' for '(sm_\w+)'", line):
            current = {"name": match[1], "arch": match[2]}
            kernels.append(current)
        elif current is None:
            continue
        elif match := re.search(
                r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            if "stack" not in current:  # those of functions it calls come behind
                current["stack"] = int(match[1])
                current["spills"] = int(match[2]) + int(match[3])
        elif match := re.search(r"Used (\d+) registers", line):
            current["registers"] = int(match[1])
            shared = re.search(r"(\d+) bytes smem", line)
            current["shared"] = int(shared[1]) if shared else 0
            current = None
    return [k for k in kernels if "registers" in k]


def warps_by_registers(registers):
    per_warp = -(-registers * 32 // UNIT) * UNIT
    return min(WARPS, REGISTERS // per_warp) if per_warp else WARPS


def main():
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    with sys.stdin if sys.argv[1] == "-" else open(sys.argv[1], encoding="utf-8") as log:
        kernels = parse(log)
    if not kernels:
        sys.exit("cuda_resources: no kernel in this log: was it built with -Xptxas -v?")
    names = demangle(sorted({k["name"] for k in kernels}))
    print("arch     regs  shared  stack  spills  warps/64  kernel")
    for k in sorted(kernels, key=lambda k: (k["arch"], names[k["name"]])):
        print(f"{k['arch']:7} {k['registers']:5} {k['shared']:7} {k['stack']:6} {k['spills']:7} "
              f"{warps_by_registers(k['registers']):9}  {names[k['name']][:110]}")
    spilled = [names[k["name"]] for k in kernels
               if k["spills"] and re.match(CONVOLUTIONS, names[k["name"]])]
    if spilled:
        sys.exit("cuda_resources: convolution kernels spill registers: " + ", ".join(spilled))


if __name__ == "__main__":
    main()
