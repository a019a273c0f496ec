#!/usr/bin/env python3
"""check_trace.py - is a file of mpg_trace_start what its documentation says?

usage: check_trace.py FILE PROCS NAME...

Whole JSON; in each row time doesn't go back, slices nest and are closed; a
goroutine runs in one place at a time and carries its wake-up's arrow, which
begins in a slice, not later than it ends; rows of at most PROCS processors
run goroutines; every NAME (of a slice, an instant, or the beginning of one,
or WHY=reason, or "arrow to a thread") occurs.  LOST=no: no event is missing.  UNFINISHED: the
program was killed.  (There may be more PROCS than asked for, compensating
those that are stuck.)
"""
import collections
import json
import sys


def fail(*what):
    sys.exit("check_trace: " + " ".join(str(w) for w in what))


def is_goroutine(name):
    return name[0] == "G" and name[1:].split()[0].isdigit()


def is_thread(name):
    return name.startswith("thread M")


def runs(name):
    return is_goroutine(name) or is_thread(name)


STOPS = "stop the world", "stopping", "stopped"


class Rows:
    def __init__(self):
        self.names = {}
        self.last = collections.defaultdict(float)
        self.open = collections.defaultdict(list)
        self.seen = set()
        self.slices = []  # goroutine, begin, end, row
        self.threads = []  # likewise
        self.starts = {}  # flow id: time
        self.ends = {}

    def metadata(self, e):
        if e["name"] == "thread_name":
            if e["tid"] in self.names:
                fail("row named twice", e)
            self.names[e["tid"]] = e["args"]["name"]

    def event(self, e):
        ph, row = e["ph"], e["tid"]
        if ph != "C":  # counters are the process's
            if row not in self.names:
                fail("row without a name", e)
            if e["ts"] < self.last[row]:
                fail("time goes back in", self.names[row], e)
            self.last[row] = e["ts"]
        if ph in "Bi":
            self.seen.add(e["name"])
        if "why" in e.get("args", {}):
            self.seen.add("WHY=" + e["args"]["why"])
        getattr(self, "on_" + ph)(e, self.open[row])

    def on_B(self, e, stack):
        if self.names[e["tid"]] == "stop the world" and e["name"] not in STOPS:
            fail("no stop of the world", e)
        if runs(e["name"]) and stack:
            fail("goroutine inside", stack[-1]["name"], e)
        stack.append(e)

    def on_E(self, e, stack):
        if not stack:
            fail("end without beginning in", self.names[e["tid"]], e)
        b = stack.pop()
        if is_goroutine(b["name"]):
            self.slices.append((b["args"]["g"], b["ts"], e["ts"], e["tid"]))
        elif is_thread(b["name"]):
            self.threads.append((b["name"], b["ts"], e["ts"], e["tid"]))

    def on_i(self, e, stack):
        pass

    def on_C(self, e, stack):
        if not all(isinstance(v, int) for v in e["args"].values()):
            fail("counter", e)
        self.seen.add("counter " + e["name"])

    def on_s(self, e, stack):
        if not stack:
            fail("arrow from outside a slice", e)
        if e["id"] in self.starts:
            fail("two arrows of one number", e)
        self.starts[e["id"]] = e["ts"]

    def on_f(self, e, stack):
        if not stack or not runs(stack[-1]["name"]):
            fail("arrow to no goroutine", e)
        if is_thread(stack[-1]["name"]):
            self.seen.add("arrow to a thread")
        if e["id"] in self.ends:
            fail("arrow with two ends", e)
        self.ends[e["id"]] = e["ts"]

    def done(self, lost, unfinished):
        for row, stack in self.open.items():
            if stack and not unfinished:
                fail("open at the end in", self.names[row], stack)
        for flow, ts in self.ends.items():
            if flow not in self.starts:
                # The writer takes one ring after the other.
                if not lost and not unfinished:
                    fail("arrow without a beginning", flow)
            elif ts < self.starts[flow]:
                fail("arrow into the past", flow, self.starts[flow], ts)

    def one_place_at_a_time(self):
        last = {}
        for g, begin, end, row in sorted(self.slices) + sorted(self.threads):
            if g in last and begin < last[g][1]:
                fail("goroutine", g, "runs in two places:", begin, "to", end,
                     "in", self.names[row], "and", *last[g])
            last[g] = (begin, end, self.names[row])

    def processors(self):
        return {self.names[row] for _, _, _, row in self.slices}


def load(path, killed):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    try:
        return json.loads(text)
    except ValueError:
        # Killed in the middle of a write: it ends where a page does.
        if not killed or len(text.encode()) % 4096:
            raise
    lines = text.splitlines()[1:-1]
    return {"traceEvents": [json.loads(x.rstrip(",")) for x in lines],
            "otherData": {"lost": 0}}


def main():
    path, procs, wanted = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    trace = load(path, "UNFINISHED" in wanted)
    rows = Rows()
    for e in trace["traceEvents"]:
        if e["ph"] == "M":
            rows.metadata(e)
        else:
            rows.event(e)
    lost = trace["otherData"]["lost"]
    rows.done(lost, "UNFINISHED" in wanted)
    if not lost:
        rows.one_place_at_a_time()
    on = rows.processors() - {"without a P"}
    if len(on) > procs or not all(n[0] == "P" for n in on):
        fail("goroutines ran on", sorted(on))
    for name in wanted:
        if name == "LOST=no":
            if lost:
                fail("lost:", lost)
        elif name != "UNFINISHED" and not any(s.startswith(name) for s in rows.seen):
            fail("no", name, "among", sorted(rows.seen)[:50])


main()
