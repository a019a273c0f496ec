"""table - the rows of bench/targets.json and what their targets mean.

A row is one piece of work, done by mpg and by its peers, and the figures it
prints.  A target is a text: "<= go / 4", "<= 500", ">= boehm * 3", or against
another row of mpg, "<= [gc.alloc32] * 1.2".  The words on the right are
contenders, in the same run.
"""
import json
import os
import re

AREAS = ["sched", "stack", "gc", "stw", "io", "app"]
BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OTHER_ROW = r"\[(?P<row>[\w.]+)\]"
TARGET = re.compile(
    r"(?P<sense><=|>=) (?:(?P<number>[\d.]+)|(?P<peer>[a-z]+)|" + OTHER_ROW +
    r")(?: (?P<op>[*/]) (?P<factor>[\d.]+))?")


class Target:
    """One condition on a figure of mpg."""

    def __init__(self, text):
        m = TARGET.fullmatch(text)
        if not m:
            raise ValueError(f"bad target: {text}")
        self.text = text
        self.parts = m.groupdict()

    def bound(self, medians, own):
        """The number to compare with, or None when it wasn't measured.

        medians: of this figure by contender; own: of mpg by (row, figure).
        """
        p = self.parts
        if p["number"]:
            base = float(p["number"])
        elif p["peer"]:
            base = medians.get(p["peer"])
        else:
            base = own.get(p["row"])
        if base is None:
            return None
        factor = float(p["factor"] or 1)
        return base / factor if p["op"] == "/" else base * factor

    def met(self, value, medians, own):
        """True, False, or None when there is nothing to compare with."""
        bound = self.bound(medians, own)
        if bound is None or value is None:
            return None
        return value <= bound if self.parts["sense"] == "<=" else value >= bound


class Figure:
    """A number that a row's programs print."""

    def __init__(self, name, spec):
        self.name = name
        self.unit = spec["unit"]
        self.more_is_better = spec.get("better") == "more"
        self.targets = [Target(t) for t in spec.get("must", [])]
        self.aim = spec.get("aim")


class Row:
    """One piece of work and its contenders."""

    def __init__(self, spec):
        self.id = spec["id"]
        self.area = self.id.split(".")[0]
        self.title = spec["title"]
        self.program = spec["program"]
        self.work = spec["work"].split()
        self.quick = spec.get("quick", "").split()
        self.contenders = ["mpg"] + spec.get("with", [])
        self.figures = [Figure(n, f) for n, f in spec["figures"].items()]
        self.seconds = spec.get("seconds", 1.0)
        self.needs_mib = spec.get("needs_mib", 0)
        self.warm_mib = spec.get("warm_mib", 0)  # touched before each run
        self.full_only = spec.get("full_only", False)
        self.example = spec.get("example")  # a server: mpg's program
        self.client = spec.get("client")  # and what loads it
        self.unlike = spec.get("unlike", [])  # contenders with other checks
        if self.area not in AREAS:
            raise ValueError(f"row of no area: {self.id}")

    def arguments(self, quick):
        """Command line of the programs; quick ones replace or add."""
        if not quick:
            return self.work
        given = dict(a.split("=") for a in self.work[1:])
        given.update(a.split("=") for a in self.quick)
        return self.work[:1] + [f"{k}={v}" for k, v in given.items()]


def once(pairs):
    """A JSON object, no name in it twice."""
    spec = dict(pairs)
    if len(spec) < len(pairs):
        raise ValueError(f"a name twice: {[name for name, _ in pairs]}")
    return spec


def load():
    path = os.path.join(BENCH, "targets.json")
    with open(path, encoding="utf-8") as f:
        rows = [Row(spec) for spec in json.load(f, object_pairs_hook=once)["rows"]]
    ids = [r.id for r in rows]
    for i in ids:
        if ids.count(i) > 1:
            raise ValueError(f"two rows have the id {i}")
    return rows


def show(rows):
    for r in rows:
        targets = "; ".join(f"{f.name} {t.text}" for f in r.figures
                            for t in f.targets)
        print(f"{r.id:24} {r.title:52} {' '.join(r.contenders[1:]):16} "
              f"{targets}")
