"""measure - run rows, interleaved, and tell what came out.

Every contender of a row runs once, then every one a second time, and so on, in
changing order: what the machine does meanwhile hits them all.  Only results
that agree count.
"""
import json
import os
import statistics
import subprocess
import sys
import time

from . import machine, serve

ROOT = machine.ROOT
OUT = os.environ.get("BENCH_OUT", os.path.join(ROOT, "build", "bench"))
QUICK_SECONDS = 150  # no row begins later
RUN_LIMIT = {True: 20, False: 180}  # seconds of one run, quick or not
QUICK_SHARE = 8  # of the memory of a row that --quick touches, at most
FEWEST_RUNS = 2  # of a quick row when time is short


class RunFailed(Exception):
    """A program failed."""


class RunSkipped(Exception):
    """A program said that this machine can't do it."""


def run_once(path, arguments, limit):
    """One run of a program.  Returns: what it printed, by name."""
    done = subprocess.run([path] + arguments, text=True, timeout=limit,
                          capture_output=True, check=False)
    words = done.stderr.strip().splitlines() or ["no message"]
    if done.returncode == 77:
        raise RunSkipped(words[0])
    if done.returncode != 0:
        raise RunFailed(f"exit status {done.returncode}: {words[0]}")
    return read_output(done.stdout)


def read_output(text):
    """What a program printed, by name."""
    said = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if not equals:
            raise RunFailed(f"printed '{line}'")
        said[name] = value
    return said


def serve_once(row, contender, path, programs, arguments, limit):
    """One run of a server and its client.  Returns: what the client printed."""
    try:
        return read_output(serve.run(row, contender, path, programs,
                                     arguments, limit))
    except serve.Failed as e:
        raise RunFailed(str(e)) from e
    except serve.Missing as e:
        raise RunSkipped(str(e)) from e


def curve_of(text):
    """Points of a distribution: [value, share of samples above]."""
    return [[float(x) for x in point.split(":")]
            for point in text.split(",") if point]


class Progress:
    """What runs and how long is left, on one line of a terminal."""

    def __init__(self, rows, quick):
        self.path = os.path.join(OUT, "durations.json")
        self.rows, self.quick = rows, quick
        self.known = self.read()
        self.tty = sys.stderr.isatty()
        self.spent = self.foreseen = 0.0

    def read(self):
        try:
            with open(self.path, encoding="utf-8") as f:
                return json.load(f)
        except (OSError, ValueError):
            return {}

    def key(self, row):
        return row.id + ("/quick" if self.quick else "")

    def guess(self, row):
        share = 0.15 if self.quick else 1
        guess = row.seconds * share * 5 * len(row.contenders)
        return self.known.get(self.key(row), guess)

    def left(self, index):
        """Seconds, at the pace so far."""
        pace = self.spent / self.foreseen if self.foreseen else 1
        return sum(self.guess(r) for r in self.rows[index:]) * pace

    def begin(self, index):
        minutes, seconds = divmod(int(self.left(index)), 60)
        self.text = (f"[{index + 1}/{len(self.rows)}] {self.rows[index].id}, "
                     f"about {minutes} min {seconds} s left")
        if not self.tty:
            print("bench:", self.text, file=sys.stderr)

    def step(self, contender, run, runs):
        if self.tty:
            print(f"\r\033[K{self.text}: {contender} {run + 1} of {runs}",
                  end="", file=sys.stderr, flush=True)

    def end(self, row, seconds):
        self.spent += seconds
        self.foreseen += self.guess(row)
        self.known[self.key(row)] = seconds
        if self.tty:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def save(self):
        with open(self.path, "w", encoding="utf-8") as f:
            json.dump(self.known, f)


def summary(values):
    return {"median": statistics.median(values), "lo": min(values),
            "hi": max(values), "all": values}


class Measurement:
    """The runs of one row, and its figures."""

    def __init__(self, row, programs):
        self.row, self.programs = row, programs
        self.paths = {c: programs.path(c, row.program, row.example)
                      for c in row.contenders}
        self.runs = {c: [] for c in row.contenders if self.paths[c]}
        self.problems, self.skipped = {}, {}

    def run(self, quick, runs, seconds, progress):
        """runs times, or, when they last longer than seconds, fewer."""
        started = time.monotonic()
        for i in range(runs):
            for contender in self.order(i):
                progress.step(contender, i, runs)
                self.one(contender, quick)
            if (time.monotonic() - started > seconds and
                    i + 1 >= min(runs, FEWEST_RUNS)):
                break
        self.compare_checks()
        progress.end(self.row, time.monotonic() - started)

    def order(self, i):
        """Everybody comes first, and after everybody else: who does finds
        CPUs that were idle and, where it isn't touched first, memory that the
        host may have taken back."""
        names = list(self.runs)
        first = i // 2 % len(names) if names else 0
        turned = names[first:] + names[:first]
        return turned[::-1] if i % 2 else turned

    def one(self, contender, quick):
        if contender in self.problems or contender in self.skipped:
            return
        try:
            self.runs[contender].append(self.figures_of(contender, quick))
        except subprocess.TimeoutExpired:
            self.leave_out(contender, f"longer than {RUN_LIMIT[quick]} s")
        except RunFailed as e:
            self.problems[contender] = str(e)
        except RunSkipped as e:
            self.skip(contender, str(e))

    def figures_of(self, contender, quick):
        path, limit = self.paths[contender], RUN_LIMIT[quick]
        arguments = self.row.arguments(quick)
        machine.warm(self.row.warm_mib // (QUICK_SHARE if quick else 1))
        if not self.row.client:
            return run_once(path, arguments, limit)
        return serve_once(self.row, contender, path, self.programs, arguments,
                          limit)

    def leave_out(self, contender, why):
        """Too slow: a hang if it is mpg, else not worth waiting for."""
        if contender == "mpg":
            self.problems[contender] = why
        else:
            self.skip(contender, why)

    def skip(self, contender, why):
        self.skipped[contender] = why
        del self.runs[contender]

    def compare_checks(self):
        """Who computed something else than mpg is out of the row."""
        checks = {c: {r.get("check") for r in rs}
                  for c, rs in self.runs.items()
                  if c not in self.row.unlike and c not in self.problems}
        for contender, seen in checks.items():
            if len(seen) > 1 or None in seen:
                self.problems[contender] = f"results differ: {seen}"
            elif "mpg" in checks and seen != checks["mpg"]:
                self.problems[contender] = (
                    f"result {seen} differs from mpg's {checks['mpg']}")

    def values(self, name):
        """By contender: summaries of a figure."""
        out = {}
        for contender, rs in self.runs.items():
            if contender in self.problems:
                continue
            numbers = [float(r[name]) for r in rs if name in r]
            if numbers:
                out[contender] = summary(numbers)
        return out

    def curves(self):
        """By name and contender: the curve of the middle run."""
        out = {}
        for contender, rs in self.runs.items():
            for name in {n for r in rs for n in r if n.endswith("_curve")}:
                runs = sorted((curve_of(r[name]) for r in rs if name in r),
                              key=lambda c: c[-1][0] if c else 0)
                out.setdefault(name, {})[contender] = runs[len(runs) // 2]
        return out

    def result(self):
        return {"id": self.row.id, "title": self.row.title,
                "work": " ".join(self.row.work), "problems": self.problems,
                "skipped": self.skipped,
                "missing": [c for c in self.row.contenders
                            if c not in self.runs and c not in self.skipped],
                "figures": {f.name: self.values(f.name)
                            for f in self.row.figures},
                "curves": self.curves(), "load": machine.load()}


def judge(row, result, own):
    """Adds ratios and targets to a result; own: mpg's medians so far."""
    result["verdicts"] = {}
    for figure in row.figures:
        values = result["figures"][figure.name]
        medians = {c: v["median"] for c, v in values.items()}
        mine = medians.get("mpg")
        own.setdefault(row.id, mine)
        own[f"{row.id}.{figure.name}"] = mine
        result["verdicts"][figure.name] = {
            "unit": figure.unit, "aim": figure.aim,
            "more_is_better": figure.more_is_better,
            "ratios": {c: ratio(figure, mine, m) for c, m in medians.items()
                       if c != "mpg"},
            "targets": [{"text": t.text, "met": t.met(mine, medians, own)}
                        for t in figure.targets]}


def ratio(figure, mine, theirs):
    """How many times better than a peer mpg is, or None."""
    if mine is None or mine <= 0 or theirs <= 0:
        return None
    return mine / theirs if figure.more_is_better else theirs / mine


# ---- telling ----

def number(x):
    if x is None:
        return "-"
    if abs(x) >= 1000:
        return f"{x:,.0f}"
    return f"{x:.3g}" if abs(x) < 100 else f"{x:.0f}"


def spread(v):
    return f"{number(v['median'])} ({number(v['lo'])} - {number(v['hi'])})"


def times(ratio):
    """How many times better: a thousand times is no two digits better."""
    return f"{ratio:.2f} ×" if ratio < 100 else f"{ratio:,.0f} ×"


def verdict_words(targets):
    words = {True: "met", False: "MISSED", None: "not measured"}
    return "; ".join(f"{t['text']}: {words[t['met']]}" for t in targets) or "-"


def tell(result):
    print(f"{result['id']}: {result['title']}")
    for contender, problem in result["problems"].items():
        print(f"  {contender}: FAILED: {problem}")
    for contender, why in result["skipped"].items():
        print(f"  {contender}: left out: {why}")
    for contender in result["missing"]:
        print(f"  {contender}: not there")
    for name, values in result["figures"].items():
        if not values:
            continue
        verdict = result["verdicts"][name]
        told = f"{name}, {verdict['unit']}"
        if name == verdict["unit"]:
            told = name
        parts = []
        for contender, v in values.items():
            r = verdict["ratios"].get(contender)
            times = f", {r:.2f} x" if r is not None else ""
            parts.append(f"{contender} {spread(v)}{times}")
        print(f"  {told:22} {'  '.join(parts)}")
        if verdict["targets"]:
            print(f"  {'':22} target {verdict_words(verdict['targets'])}")
    sys.stdout.flush()


def totals(results):
    met = [t["met"] for r in results for v in r.get("verdicts", {}).values()
           for t in v["targets"]]
    print(f"\n{met.count(True)} targets met, {met.count(False)} missed, "
          f"{met.count(None)} not measured.  Ratios say how many times better "
          "mpg is.")


# ---- all rows ----

def skip_reason(row, quick, started):
    if quick and row.full_only:
        return "not part of --quick"
    if quick and time.monotonic() - started > QUICK_SECONDS:
        return "no time left in --quick"
    if row.needs_mib > machine.available_mib():
        return f"needs {row.needs_mib} MiB of free memory"
    return None


def measure_all(rows, programs, quick, runs, save):
    """Measures, tells, and saves what there is after each row."""
    started, results, own = time.monotonic(), [], {}
    progress = Progress([r for r in rows if not (quick and r.full_only)],
                        quick)
    index = 0
    for row in rows:
        reason = skip_reason(row, quick, started)
        if not (quick and row.full_only):
            index += 1
        if reason:
            print(f"{row.id}: left out: {reason}")
            continue
        m = Measurement(row, programs)
        progress.begin(index - 1)
        left = QUICK_SECONDS - (time.monotonic() - started)
        share = left / (len(progress.rows) - index + 1)
        m.run(quick, runs, share if quick else float("inf"), progress)
        result = m.result()
        judge(row, result, own)
        tell(result)
        results.append(result)
        save(results)
    progress.save()
    return results


class Keeper:
    """Where results go: the file asked for, or the last results' place."""

    def __init__(self, head, quick, runs, path):
        keep = os.path.join(OUT, "quick.json" if quick else "results.json")
        self.path = path or keep
        self.everything = {"machine": head, "quick": quick, "runs": runs}

    def save(self, results):
        self.everything["machine"]["load_after"] = machine.load()
        self.everything["rows"] = results
        with open(self.path + ".new", "w", encoding="utf-8") as f:
            json.dump(self.everything, f, indent=1)
        os.replace(self.path + ".new", self.path)


def main(rows, programs, quick, runs, json_path):
    os.makedirs(OUT, exist_ok=True)
    head = machine.describe()
    head["load_before"] = machine.load()
    for key in ("cpu", "kernel", "compiler", "go", "commit", "load_before"):
        print(f"{key.replace('_', ' ')}: {head[key]}")
    print()
    keeper = Keeper(head, quick, runs, json_path)
    results = measure_all(rows, programs, quick, runs, keeper.save)
    keeper.save(results)
    totals(results)
    failed = [r["id"] for r in results if r["problems"]
              or "mpg" in r["missing"]]
    if failed:
        print(f"bench: these rows failed: {' '.join(failed)}",
              file=sys.stderr)
    return 1 if failed else 0
