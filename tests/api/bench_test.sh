#!/usr/bin/env bash
# bench_test.sh <build>: the harness of ./run bench: its words, what it finds
# out, what it says about peers that aren't there.  No figure is judged.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(realpath --relative-to="$root" "$1")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bad=0
python=$(python3 -c 'import sys; print(sys.executable)') || exit 0

complain() {
  echo "bench_test: $*" >&2
  bad=1
}

# expect <status> <words of the output> <arguments of bench/run...>
expect() {
  local want=$1 words=$2 said status
  shift 2
  said=$("$python" "$root/bench/run" --build "$build" "$@" 2>&1)
  status=$?
  [ $status -eq "$want" ] || complain "$*: exit status $status: $said"
  [[ $said == *"$words"* ]] || complain "$*: said '$said'"
}

expect 2 "no such area: speed" speed
expect 2 "no such row: sched.nothing" --row sched.nothing
expect 2 "--update belongs to gate" sched --update
expect 2 "--runs wants a number from 1" --runs 0
expect 0 "sched.yield2" --list sched
expect 0 "usage: ./run bench" --help

# One row, without the peers' compilers: mpg is measured, the rest is said.
mkdir "$scratch/bin"
BENCH_OUT=$scratch PATH=$scratch/bin \
  expect 0 "go is not installed" --quick --runs 1 --row sched.spawn \
  --json "$scratch/one.json"
"$python" - "$scratch/one.json" << 'PYTHON' || complain "wrong JSON"
import json
import sys
with open(sys.argv[1], encoding="utf-8") as f:
    found = json.load(f)
row = found["rows"][0]
assert row["id"] == "sched.spawn", row
assert row["figures"]["ns"]["mpg"]["median"] > 0, row
assert row["missing"] == ["go"], row
assert row["verdicts"]["ns"]["targets"][0]["met"] is None, row
assert found["machine"]["kernel"], found["machine"]
PYTHON

# What is touched beforehand is in nobody's peak.
"$python" - "$root/bench" << 'PYTHON' || complain "warming shows in peaks"
import resource
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from harness import machine
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
machine.warm(256)
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000
PYTHON

# The applications compute the same when the collector is pressed.
# same <program> <work> <arguments...>
same() {
  local program=$build/bench/$1 plain pressed
  shift
  [ -x "$root/$program" ] || return 0
  plain=$("$root/$program" "$@" procs=1 | grep check) ||
    complain "$program $*: failed"
  pressed=$(MPG_DEBUG=${same_debug:-gcstress=2000,clobberfree=1} \
    "$root/$program" "$@" procs=2 | grep check)
  [ "$plain" = "$pressed" ] || complain "$program $*: $plain, then $pressed"
}

same app_json_bench json n=500 rounds=2 threads=2
same app_lisp_bench lisp rounds=1 threads=2
export MPG_GC=50 # and when threads are late
same_debug=chaos=500,clobberfree=1 same app_lisp_bench lisp rounds=1 threads=2
unset MPG_GC
same app_lisp_bench corout rounds=1 threads=2
same gc_alloc_bench gcbench depth=8 threads=2

expect 1 "measure first" report "$scratch/none.json"
echo '{' > "$scratch/broken.json"
expect 1 "holds no results" report "$scratch/broken.json"
BENCH_OUT=$scratch expect 0 "report.html" report "$scratch/one.json"
grep -q 'start a goroutine' "$scratch/report.html" || complain "no row"
grep -qE 'https?://[^w]' "$scratch/report.html" && complain "page has links"
BENCH_OUT=$scratch PATH=$scratch/bin \
  expect 0 "gnuplot is not installed" report "$scratch/one.json"
PATH=$scratch/bin expect 0 "not judged: valgrind is not installed" gate
PATH=$scratch/bin expect 1 "valgrind is not installed" gate --update
expect 2 "report takes one file" report one two

export BENCH_OUT=$scratch
"$python" - "$root/bench" "$1" << 'PYTHON' || complain "the rules are broken"
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import subprocess
from harness import gate, measure, peers, serve, table

t = table.Target("<= go / 4")
assert t.met(10, {"go": 40}, {}) is True
assert t.met(11, {"go": 40}, {}) is False
assert t.met(11, {}, {}) is None
t = table.Target(">= [sched.sort] * 2")
assert t.met(8, {}, {"sched.sort": 4}) is True
assert table.Target("<= 500").met(501, {}, {}) is False
try:
    table.Target("quick")
    raise SystemExit("a bad target was taken")
except ValueError:
    pass

# Who computes something else is out; who prints nonsense has failed.
row = table.Row({"id": "gc.x", "title": "x", "program": "x", "work": "x a=1",
                 "quick": "a=2 b=3", "with": ["go"],
                 "figures": {"ns": {"unit": "ns", "must": ["<= go"]}}})
assert row.arguments(True) == ["x", "a=2", "b=3"]
m = measure.Measurement.__new__(measure.Measurement)
m.row, m.problems, m.skipped = row, {}, {}
m.runs = {"mpg": [{"check": "1", "ns": "2"}, {"check": "1", "ns": "4"}],
          "go": [{"check": "2", "ns": "9"}]}
m.compare_checks()
assert list(m.problems) == ["go"], m.problems
result = m.result()
measure.judge(row, result, {})
assert result["figures"]["ns"]["mpg"]["median"] == 3
assert result["verdicts"]["ns"]["targets"][0]["met"] is None
for command, raised in (
        ["/bin/echo", "hello"], measure.RunFailed), (
        ["/bin/sh", "-c", "exit 1"], measure.RunFailed), (
        ["/bin/sh", "-c", "sleep 60"], subprocess.TimeoutExpired), (
        ["/bin/sh", "-c", "exit 77"], measure.RunSkipped):
    try:
        measure.run_once(command[0], command[1:], 1)
        raise SystemExit(f"taken: {command}")
    except raised:
        pass

# Servers: what they must say, how they end, what loads them.
def refused(*command):
    try:
        with serve.Server(command) as server:
            server.process.wait()
    except serve.Failed as e:
        return str(e)
    raise SystemExit(f"taken: {command}")


ready = "echo listening on 127.0.0.1:1; exec sleep 60"
assert "printed 'hello'" in refused("/bin/echo", "hello")
with serve.Server(["/bin/sh", "-c", ready]) as server:
    assert server.port == 1
    assert serve.cpu_seconds(server.pid) >= 0
said = refused("/bin/sh", "-c", ready.replace(
    "exec sleep 60", "echo broken >&2; exit 3"))
assert said == "the server ended, 3: broken", said
assert serve.server_command("s", None, {"work": "echo", "procs": "2",
                                        "n": "3"}) == ["s", "echo", "procs=2"]
assert serve.server_command("s", "e", {"work": "echo", "loops": "2"}) == [
    "s", "--port=0", "--quiet", "--loops=2"]
figures = serve.wrk_figures("""  Latency Distribution
     50%  500.00us
     99%    2.30ms
  1500 requests in 1.00s, 0.2MB read
Requests/sec:   1500.00
""")
assert figures == {"requests": 1500, "krequests_s": 1.5, "latency_p50": 0.5,
                   "latency_p99": 2.3}, figures
for bad in ("nothing", "1 requests in 1s\nRequests/sec: 1\n"
            "  Socket errors: connect 0, read 3, write 0, timeout 0"):
    try:
        serve.wrk_figures(bad)
        raise SystemExit(f"taken: {bad}")
    except serve.Failed:
        pass
row = [r for r in table.load() if r.id == "io.echo"][0]
programs = peers.Programs(sys.argv[2])
path = programs.path("mpg", row.program, row.example)
if path and programs.path("client", row.program):
    for how in ([], ["rate=20000"]):
        said = measure.read_output(serve.run(
            row, "mpg", path, programs,
            ["echo", "conns=20", "n=400", "procs=2"] + how, 30))
        assert float(said["cpu_us"]) > 0 and said["check"] != "0", said

lines, worse = gate.compare({"a": 100, "b": 100, "c": 1},
                            {"a": 104, "b": 106, "d": 3})
assert worse == ["b"], worse
assert len(lines) == 4 and "WORSE" in lines[1] and "gone" in lines[3], lines
PYTHON
exit $bad
