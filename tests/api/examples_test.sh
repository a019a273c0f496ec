#!/usr/bin/env bash
# examples_test.sh <folder of the built examples>: what they print, their
# options, mistakes in them, and that wrong counts are noticed.
set -u
examples=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bad=0

complain() {
  echo "examples_test: $*" >&2
  bad=1
}

# expect <status> <words of the output> <program> <arguments...>
expect() {
  local want=$1 words=$2 program=$3 said status
  shift 3
  said=$(timeout 50 "$examples/$program" "$@" 2>&1)
  status=$?
  [ $status -eq "$want" ] ||
    complain "$program $*: exit status $status, expected $want: $said"
  [[ $said == *"$words"* ]] || complain "$program $*: said '$said'"
}

# ---- hello, tight_loop -------------------------------------------------------
said=$("$examples/hello" | sort | tr '\n' ';')
[ "$said" = "hello, C;hello, gopher;hello, world;" ] ||
  complain "hello said '$said'"
expect 0 "still here" tight_loop

# ---- stw_latency -------------------------------------------------------------
for kind in empty leaf calls memset qsort read syscall; do
  expect 0 "kind $kind, 1 loops, 2 Ps, 1 MiB live" stw_latency \
    --kind $kind --loops 1 --procs 2 --live-mib 1 --seconds 1
done
"$examples/stw_latency" --json --seconds 1 --loops=0 > "$scratch/stw.json" ||
  complain "stw_latency --json: exit status $?"
python3 - "$scratch/stw.json" << 'PY' || complain "stw_latency: wrong JSON"
import json, sys
d = json.load(open(sys.argv[1]))
for m in "time_to_stop", "pause":
    h = d[m]
    assert h["count"] > 0
    assert h["p50_ns"] <= h["p90_ns"] <= h["p99_ns"] <= h["max_ns"]
    assert sum(r["count"] for r in h["histogram"]) == h["count"]
PY
expect 2 "no such kind: slow" stw_latency --kind slow
expect 2 "wants a number" stw_latency --loops -1
expect 2 "wants a number" stw_latency --loops 1x
expect 2 "wants a number" stw_latency --seconds 99999999999999999999
expect 2 "value missing" stw_latency --procs
expect 2 "takes no value" stw_latency --json=yes
expect 2 "unexpected argument: here" stw_latency here
expect 0 "usage: stw_latency" stw_latency --help

# ---- the indexer -------------------------------------------------------------
mkdir -p "$scratch/words/deep/deeper" "$scratch/empty"
for i in 1 2 3 4 5 6 7 8 9; do
  seq $((i * 1000)) $((i * 1000 + 700)) | sed 's/$/ one two_2 \xff x/' \
    > "$scratch/words/deep/file$i"
done
printf 'no newline at the end' > "$scratch/words/deep/deeper/last"
: > "$scratch/words/nothing"
ln -s deep "$scratch/words/link"
expect 0 "counts are right" indexer --quiet --procs 1 "$scratch/words"
"$examples/indexer" --quiet --json --procs 1,2,8 --rounds 2 "$scratch/words" \
  > "$scratch/index.json" || complain "indexer --json: exit status $?"
python3 - "$scratch/index.json" << 'PY' || complain "indexer: wrong JSON"
import json, sys
d = json.load(open(sys.argv[1]))
assert d["ok"] and [r["procs"] for r in d["runs"]] == [1, 2, 8]
for r in d["runs"]:
    assert r["files"] == r["found"] == 11 and r["unreadable"] == 0
    assert r["words"] == 9 * 701 * 4 + 5 and r["distinct"] == 9 * 701 + 3 + 5
    assert r["loops"] == r["procs"] and r["parts_rebuilt"] > 0
    assert r["collections"] > 0 and r["pause"]["count"] > 0
    assert r["time_to_stop"]["max_ns"] <= r["pause"]["max_ns"]
PY
for debug in gcstress=3,clobberfree=1 preemptall=1; do
  MPG_DEBUG=$debug expect 0 "counts are right" indexer --quiet --files 3 \
    --procs 2 "$scratch/words"
done
expect 0 "files        11 of 11 (" indexer --quiet --limit 0 --procs 1,2 \
  "$scratch/words/"
expect 0 "files        4 of 11 (" indexer --quiet --files 4 --procs 2 \
  "$scratch/words/"
expect 1 "no files" indexer "$scratch/empty"
expect 2 "not a folder: $scratch/none" indexer "$scratch/none"
expect 2 "not a folder: $scratch/words/nothing" indexer "$scratch/words/nothing"
expect 2 "unknown option: --fast" indexer --fast
expect 2 "wants a number in [1, 256], not \"1,0\"" indexer --procs 1,0
expect 2 "wants a number" indexer --procs ""
expect 2 "unexpected argument: b" indexer a b
expect 0 "usage: indexer" indexer --help

# A file that grows between the two counts: the words differ.
grow() {
  while [ -d "$scratch/words" ]; do
    echo "more words" >> "$scratch/words/deep/file5"
    sleep 0.01
  done
}
grow &
growing=$!
expect 1 "places" indexer --quiet --procs 2 --rounds 1000 --seconds 2 \
  "$scratch/words"
kill $growing 2> /dev/null
wait 2> /dev/null

# ---- the servers -------------------------------------------------------------
# serve <program> <signal> <client in python, which gets the port> <options...>
serve() {
  local program=$1 signal=$2 client=$3 port said status
  shift 3
  : > "$scratch/server" # not the port of the server before
  "$examples/$program" --port 0 --procs 2 "$@" > "$scratch/server" 2>&1 &
  local server=$!
  for _ in $(seq 100); do
    port=$(sed -n 's/.*127\.0\.0\.1://p' "$scratch/server")
    [ -z "$port" ] || break
    sleep 0.05
  done
  timeout 50 python3 - "$port" <<< "$client" || complain "$program: client failed"
  kill "-$signal" $server
  wait $server
  status=$?
  said=$(cat "$scratch/server")
  [ $status -eq 0 ] || complain "$program: exit status $status: $said"
  [[ $said == *" connections, "*" requests, "*" bytes"* ]] ||
    complain "$program said '$said'"
}

serve echo_server TERM '
import os, socket, sys
to = ("127.0.0.1", int(sys.argv[1]))
all = [socket.create_connection(to, 20) for _ in range(50)]
for round in range(5):
    sent = [os.urandom(1 + 4000 * round) for _ in all]
    for s, data in zip(all, sent):
        s.sendall(data)
    for s, data in zip(all, sent):
        got = b""
        while len(got) < len(data):
            got += s.recv(100000)
        assert got == data
' --trace "$scratch/trace.json"
python3 "$(dirname "$0")/../support/check_trace.py" "$scratch/trace.json" 8 \
  "WHY=IO wait" || complain "echo_server --trace"
serve http_hello INT '
import http.client, socket, sys
port = int(sys.argv[1])
c = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
def ask(method, path, status, body=None):
    c.request(method, path, body)
    r = c.getresponse()
    assert r.status == status, r.status
    return r.read()
for _ in range(100):
    assert ask("GET", "/", 200) == b"hello, world\n"
assert ask("HEAD", "/", 200) == b""
ask("GET", "/x", 404)
ask("DELETE", "/", 405)
ask("POST", "/", 413, b"abc")
def raw(text):
    s = socket.create_connection(("127.0.0.1", port), 20)
    s.sendall(text)
    got = b""
    while True:
        more = s.recv(10000)
        if not more:
            return got
        got += more
get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
last = b"GET / HTTP/1.1\r\nconnection: Close\r\n\r\n"
assert raw(get * 3 + last + get).count(b"HTTP/1.1 200 OK") == 4
assert raw(b"GET / HTTP/1.0\r\n\r\n").count(b"200 OK") == 1
assert raw(b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
assert raw(b"GET / HTTP/1.1\r\nx: " + b"y" * 9000).startswith(b"HTTP/1.1 431 ")
' --trace "$scratch/http.json"
python3 "$(dirname "$0")/../support/check_trace.py" "$scratch/http.json" 8 \
  WHY="IO wait" || complain "http_hello --trace"
expect 0 "0 connections" echo_server --port 0 --seconds 1
expect 0 "listening on 127.0.0.1:" http_hello --port 0 --seconds 1 --quiet
expect 2 "wants a number in [0, 65535]" http_hello --port 70000
expect 2 "unexpected argument" echo_server 7
expect 0 "--buffer" echo_server --help
expect 1 "No such file" echo_server --port 0 --trace "$scratch/none/trace.json"

exit $bad
