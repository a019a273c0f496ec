#!/usr/bin/env python3
"""Make the documents that come from tables in the source.

docs/environment.md   from arch/common/options.def
docs/locking.md       from arch/common/lockrank.def
docs/trace.md         from arch/common/trace_events.def
docs/libc-stubs.md    from arch/linux/libc.def
docs/code-index.md    from the first line of every source file
docs/api.md           from the doc comments of include/mpg/

Without arguments the files are written; with --check nothing is written and
the exit status is 1 when one is out of date.
"""
import csv
import os
import re
import subprocess
import sys

import apidoc

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def rows(path, macro):
    """The argument lists of every macro(...) row of a table."""
    text = re.sub(r"/\*.*?\*/", "", read(path), flags=re.S)
    text = re.sub(r'"\s*"', "", text)  # adjacent string literals
    for body in re.findall(macro + r'\(((?:[^()"]|"[^"]*")*)\)', text):
        line = re.sub(r"\s+", " ", body)
        yield next(csv.reader([line], skipinitialspace=True))


def span(lo, hi):
    return "0 or 1" if (lo, hi) == ("0", "1") else f"{lo} … {hi}"


def environment():
    out = ["""# Environment variables

<!-- Made by tools/gendocs.py from arch/common/options.def. -->

Read once, at the first `mpg_run`. A bad value is reported on stderr, one
line, and the default is used. An empty variable counts as unset.

| variable | value | default |
| --- | --- | --- |
| `MPG_PROCS` | number of Ps, as GOMAXPROCS: 1 … 1024 | CPUs of the affinity mask |
| `MPG_GC` | heap growth in percent before the next collection, or `off` | 100 |
| `MPG_MEMLIMIT` | soft memory limit: bytes, with an optional `B`, `KiB`, `MiB`, `GiB` or `TiB`; or `off` | off |
| `MPG_TRACEBACK` | what a fatal error prints: `none`; `single`, the goroutine at fault; `all`; `system`, the runtime's own too; `crash`, and then abort (or 0 … 4) | `single` |
| `MPG_DEBUG` | switches, `name` or `name=value`, separated by commas | none |

## MPG_DEBUG

A name without a value means 1. Unknown names and bad values are reported.

| switch | values | default | what it does |
| --- | --- | --- | --- |
"""]
    for name, dflt, lo, hi, doc in rows("arch/common/options.def",
                                        "MPGI_OPTION"):
        out.append(f"| `{name}` | {span(lo, hi)} | {dflt} | {doc} |\n")
    for name, doc in rows("arch/common/options.def", "MPGI_OPTION_NAME"):
        out.append(f"| `{name}` | a name | none | {doc} |\n")
    return "".join(out)


def locking():
    out = ["""# Locks

<!-- Made by tools/gendocs.py from arch/common/lockrank.def. -->

Every lock of the runtime, in the one order in which they may be taken: a
lock may be taken while holding only locks of earlier rows. Two of the same
rank only where the last column says so, and then the one at the lower
address first. A lock without a row is a leaf: nothing may be locked under
it. Builds with `MPG_CHECK` of 2 or more check this at every lock, before
waiting for it, and end with `fatal: lock order: ...`.

Signal handlers take no locks. Nothing that a stopped thread may hold is
taken while the world is stopped.

| rank | lock | protects | same rank twice |
| --- | --- | --- | --- |
"""]
    table = rows("arch/common/lockrank.def", "MPGI_LOCKRANK")
    for i, (name, doc, twice) in enumerate(table):
        out.append(f"| {i} | `{name}` | {doc} | {twice} |\n")
    out.append("| last | leaf | whatever its owner says | no |\n")
    return "".join(out)


def trace():
    out = ["""# Traces

<!-- Made by tools/gendocs.py from arch/common/trace_events.def. -->

`mpg_trace_start(path)` and `mpg_trace_stop()` record what the runtime does in
a file of Trace Event JSON. Open it in Perfetto (ui.perfetto.dev) or in
chrome://tracing.

- A row for each P, with a slice for each stretch that a goroutine ran:
  `G7 worker`, its arguments the goroutine (`g`) and the thread (`m`), and at
  its end why it left (`why`). Inside it, system calls and stops of the world.
  An attached thread has a P of its own, and slices `thread M5`.
- Rows for the world's stops, the collector, its background sweeper, and for
  threads without a P (sysmon, threads back from a long system call).
- Arrows from whoever made a goroutine runnable (`by`) to where it runs.
- Counters: heap (live bytes and goal), goroutines (all and queued).
- Times are those of `mpg_now`, in microseconds.

Recording costs some 15 ns an event. When the writer's thread, which has a low
priority, can't keep up, events are left out: the row says where and how many
(`events lost`), `otherData.lost` how many in all. The file is whole JSON after
every write, also that of a program that is killed. Killed in the middle of a
write, which is rare, it ends with a page of memory: its whole lines are events.

## Events

As they are recorded, `arch/common/trace_events.def`. Numbers are stable.

| number | event | first argument | second argument | meaning |
| --- | --- | --- | --- | --- |
"""]
    numbers = set()
    for number, name, a, b, doc in rows("arch/common/trace_events.def",
                                        "MPGI_TRACE_EVENT"):
        if number in numbers:
            sys.exit(f"trace_events.def: number {number} is used twice")
        numbers.add(number)
        out.append(f"| {number} | `{name}` | {a} | {b} | {doc} |\n")
    return "".join(out)


def libc_stubs():
    out = ["""# C library stubs

<!-- Made by tools/gendocs.py from arch/linux/libc.def. -->

The functions of the C library that cost a goroutine no large stack segment:
a program linked with mpg reaches them through stubs of its own
(`docs/design/libc.md`). A function that calls only these, mpg's functions and
code built with mpg's flags stays on its small segment; any other call makes
sure of 64 KiB first (`docs/design/stacks.md`).

| kind | where the function runs |
| --- | --- |
| LEAF | on the goroutine's stack: it needs next to none |
| SYSTEM | on the thread's system stack |
| SYSTEM_ARGS | the same, with up to 2 KiB of stack arguments |
| SYSTEM_DEEP | the same, where 16 KiB on the goroutine's stack would be too little |
| CHECKED | as LEAF, or as SYSTEM when its check fails |
| LOCK, UNLOCK | as SYSTEM; `MPG_DEBUG=lockcheck=1` counts them |
| HOLD..., DROP... | the same; in between the goroutine stays on its thread |

| functions | kind | why |
| --- | --- | --- |
"""]
    for kind, why, names in rows("arch/linux/libc.def", "MPGI_LIBC"):
        listed = " ".join(f"`{n}`" for n in names.split())
        out.append(f"| {listed} | {kind} | {why} |\n")
    return "".join(out)


FOLDERS = ["include", "arch", "stack", "gc", "sched", "examples", "bench",
           "tools", "tests/support", "tests/lint"]


def purpose(path):
    """What the file says about itself in its first comment."""
    head = read(path)[:1500]
    name = re.escape(os.path.basename(path))
    m = re.search(r"^(?:/\*+|#|\"\"\"|//)?\s*(?:mpg/)?" + name +
                  r"\s*[-:]\s*(.*?)(?:\n\s*\*?#?\s*\n|\*/|\"\"\")", head,
                  flags=re.S | re.M)
    if not m:
        m = re.search(r"^(?:/\*+|\"\"\"|# )\s*(.*?)(?:\n\s*\*?#?\s*\n|\*/|\"\"\")",
                      head, flags=re.S | re.M)
    if not m:
        return ""
    text = re.sub(r"\n\s*[*#]?\s*", " ", m.group(1)).strip()
    text = re.split(r"(?<=[a-z0-9)`])\.\s", text)[0]
    return text.rstrip(".").replace("|", "\\|")


def code_index():
    files = subprocess.run(["git", "ls-files"] + FOLDERS, cwd=ROOT, text=True,
                           capture_output=True, check=True).stdout.split()
    out = ["""# Code index

<!-- Made by tools/gendocs.py from the first line of every file. -->
"""]
    folder = None
    for path in sorted(files, key=lambda p: (os.path.dirname(p), p)):
        if not re.search(r"\.(c|h|S|def|py|sh|cmake|in)$|/lint/|driver$",
                         path):
            continue
        if os.path.dirname(path) != folder:
            folder = os.path.dirname(path)
            out.append(f"\n## {folder}/\n\n| file | purpose |\n| --- | --- |\n")
        out.append(f"| `{os.path.basename(path)}` | {purpose(path)} |\n")
    return "".join(out)


HEADERS = ["sched", "gc", "chan", "sync", "time", "io", "debug"]


def api():
    out = ["""# API reference

<!-- Made by tools/gendocs.py from the doc comments of include/mpg/. -->

`#include <mpg.h>` brings all of it. Whatever can fail returns a negative errno
or NULL and never uses errno; durations are nanoseconds; `mpg_func` is
`void (*)(void *arg)`. The
[user guide](guide.md) explains how the parts work together and what C adds in
hazards; [environment.md](environment.md) has the variables.
"""]
    for name in HEADERS:
        out.append(apidoc.reference(f"mpg/{name}.h",
                                    read(f"include/mpg/{name}.h")))
    return "".join(out)


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit("usage: gendocs.py [--check]")
    stale = []
    for path, make in (("docs/environment.md", environment),
                       ("docs/locking.md", locking),
                       ("docs/trace.md", trace),
                       ("docs/libc-stubs.md", libc_stubs),
                       ("docs/code-index.md", code_index),
                       ("docs/api.md", api)):
        want = make()
        full = os.path.join(ROOT, path)
        have = read(path) if os.path.exists(full) else None
        if have == want:
            continue
        stale.append(path)
        if not check:
            with open(full, "w", encoding="utf-8") as f:
                f.write(want)
    if check and stale:
        sys.exit(f"out of date: {' '.join(stale)}: run tools/gendocs.py")


if __name__ == "__main__":
    main()
