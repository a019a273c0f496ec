"""gate - instruction counts of hot paths against a baseline.

Time on a shared machine is no measure for a gate; the number of instructions
is.  bench/gate_paths_bench.c does one thing n times; it runs under callgrind
with a small and a large n, and the difference of the two counts, divided by
the difference of the n, is the path's.  What the start costs cancels out.

Threads are counted apart.  The one whose count grows most did the work; the
runtime's watching thread executes instructions by the clock and is left out.
What the clock does to the others only adds: a path that looks worse is counted
once more, and the smaller count is taken.
"""
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from . import machine

BASELINE = os.path.join(machine.ROOT, "bench", "baseline",
                        "instructions.json")
ALLOWED = 0.05  # more than the baseline
FEW, MANY = 2000, 202000
# What does more at a time is done less often.
FEWER = {"buffered": 5, "unbuffered": 10, "yield": 10, "spawn": 10,
         "descent": 200, "select": 5, "timer": 5}
PATHS = ["alloc16", "alloc64", "alloc256", "leaf64", "typed64", "buffered",
         "unbuffered", "yield", "spawn", "morestack", "non_split", "descent",
         "select", "mutex", "timer"]
LIMIT_SECONDS = 120


def total_of(path):
    """Instructions of one thread's file of callgrind."""
    with open(path, encoding="utf-8") as f:
        m = re.search(r"^(?:totals|summary): (\d+)", f.read(), re.M)
    return int(m.group(1)) if m else 0


def count(program, path, n):
    """Instructions of a run by thread."""
    with tempfile.TemporaryDirectory() as scratch:
        command = ["valgrind", "--tool=callgrind", "--separate-threads=yes",
                   f"--callgrind-out-file={scratch}/out", program, path,
                   f"n={n}", "procs=1"]
        # Now and then callgrind 3.19 fails an assertion (bb.c:268) where a
        # signal handler has changed the PC.
        env = dict(os.environ, MPG_DEBUG="asyncpreemptoff=1", MPG_GC="")
        done = subprocess.run(command, text=True, capture_output=True,
                              timeout=LIMIT_SECONDS, check=False, env=env)
        if done.returncode != 0:
            raise SystemExit(f"bench: gate: {path} failed under valgrind:\n"
                             f"{done.stderr.strip()}")
        return {name: total_of(os.path.join(scratch, name))
                for name in os.listdir(scratch)}


def count_path(program, path, before):
    """Instructions of doing it once; before: the baseline, or None."""
    few, many = (n // FEWER.get(path, 1) for n in (FEW, MANY))
    counts = []
    while not counts or (len(counts) == 1 and before is not None and
                         counts[0] > before * (1 + ALLOWED)):
        small, large = count(program, path, few), count(program, path, many)
        grown = max(large[t] - small.get(t, 0) for t in large)
        counts.append(grown / (many - few))
    return round(min(counts), 1)


def count_all(program, baseline):
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        counts = pool.map(
            lambda p: count_path(program, p, baseline.get(p)), PATHS)
        return dict(zip(PATHS, counts))


def tools():
    """What decides on the instructions besides the sources."""
    return {"compiler": machine.first_line(
                os.environ.get("CC", "cc").split()[0], "--version"),
            "libc": " ".join(platform.libc_ver())}


def read_baseline():
    try:
        with open(BASELINE, encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        return {"tools": None, "instructions": {}}


def compare(old, new):
    """Lines to print, and the paths that got worse by more than allowed."""
    lines, worse = [], []
    for path, now in new.items():
        before = old.get(path)
        if before is None:
            lines.append(f"{path:12} {now:10.1f}  new")
            continue
        change = now / before - 1
        mark = ""
        if change > ALLOWED:
            worse.append(path)
            mark = "  WORSE"
        lines.append(f"{path:12} {now:10.1f}  was {before:10.1f}  "
                     f"{change:+7.1%}{mark}")
    lines += [f"{path:12} is gone" for path in old if path not in new]
    return lines, worse


def write_baseline(counts):
    os.makedirs(os.path.dirname(BASELINE), exist_ok=True)
    with open(BASELINE, "w", encoding="utf-8") as f:
        json.dump({"tools": tools(), "instructions": counts}, f, indent=1)
        f.write("\n")


def words(found):
    return " and ".join(found.values()) if found else "no tools"


def main(build, update):
    if not shutil.which("valgrind"):
        print("bench: gate: not judged: valgrind is not installed")
        return 1 if update else 0
    program = os.path.join(build, "bench", "gate_paths_bench")
    baseline = read_baseline()
    counts = count_all(program, baseline["instructions"])
    lines, worse = compare(baseline["instructions"], counts)
    print("instructions of a path, beside bench/baseline/instructions.json")
    print("\n".join(lines))
    if update:
        write_baseline(counts)
        print("the baseline is written anew")
        return 0
    if baseline.get("tools") != tools():
        print(f"not judged: the baseline is of {words(baseline.get('tools'))}, "
              f"this is {words(tools())}")
        return 0
    if worse:
        print(f"bench: gate: more than {ALLOWED:.0%} worse: "
              f"{' '.join(worse)}; if that is meant: ./run bench gate "
              "--update", file=sys.stderr)
    return 1 if worse else 0
