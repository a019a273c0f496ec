"""serve - rows of servers: start one, let a client load it, end it.

A server prints "listening on 127.0.0.1:PORT" and serves until SIGTERM.  mpg's
are the example servers, the peers' are programs of bench/peers/.  Clients:

  echo   bench/peers/client_io_echo.c; n, conns, rate
  wrk    wrk; conns, seconds

With trace=1 mpg's server writes a trace meanwhile; the contender "untraced" is
the same one without.
"""
import http.client
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
import zlib

from .peers import OURS

START_SECONDS = 10
END_SECONDS = 5
SERVER_KEYS = ("procs", "loops")
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}  # of wrk, in ms
CPUCLOCK_SCHED = 2  # what all threads of a process have used


class Failed(Exception):
    """The server or the client did something wrong."""


class Missing(Exception):
    """There is no such client on this machine."""


def cpu_seconds(pid):
    """CPU time of another process (clock_getcpuclockid of the C library)."""
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


def server_command(path, example, given):
    """given: the row's key=value arguments, as a dictionary."""
    own = {k: v for k, v in given.items() if k in SERVER_KEYS}
    if not example:
        return [path, given["work"]] + [f"{k}={v}" for k, v in own.items()]
    return [path, "--port=0", "--quiet"] + [f"--{k}={v}"
                                            for k, v in own.items()]


class Server:
    """A server process, for a with statement."""

    def __init__(self, command):
        self.command = command

    def __enter__(self):
        self.process = subprocess.Popen(self.command, text=True,
                                        stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.pid = self.process.pid
        try:
            self.port = self.read_port()
        except Failed:
            self.process.kill()
            self.process.communicate()
            raise
        return self

    def read_port(self):
        ready = select.select([self.process.stdout], [], [], START_SECONDS)[0]
        line = self.process.stdout.readline() if ready else ""
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)$", line)
        if not found:
            raise Failed(f"the server printed '{line.strip()}'")
        return int(found.group(1))

    def __exit__(self, kind, value, trace):
        ended = self.process.poll()
        self.process.send_signal(signal.SIGTERM)
        try:
            _, said = self.process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise Failed("the server didn't end on SIGTERM") from value
        if ended is not None:
            said = said.strip().splitlines() or ["no message"]
            raise Failed(f"the server ended, {ended}: {said[0]}") from value


def load_echo(server, client, given, limit):
    command = [client, "echo", f"port={server.port}", f"pid={server.pid}"]
    command += [f"{k}={v}" for k, v in given.items()
                if k not in SERVER_KEYS + ("work", "trace")]
    done = subprocess.run(command, text=True, timeout=limit,
                          capture_output=True, check=False)
    if done.returncode != 0:
        raise Failed(f"the client: {done.stderr.strip() or done.returncode}")
    return done.stdout


def answer_of(server):
    """What it answers, as a number."""
    try:
        c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        c.request("GET", "/")
        answer = c.getresponse()
        return zlib.crc32(f"{answer.status} ".encode() + answer.read())
    except (OSError, http.client.HTTPException) as e:
        raise Failed(f"no answer: {e}") from e


def wrk_figures(text):
    """name -> value of what wrk --latency prints."""
    if re.search(r"Socket errors: (?!connect 0, read 0, write 0, timeout 0)"
                 r"|Non-2xx or 3xx responses", text):
        raise Failed("wrk had errors: " + " ".join(text.split()))
    total = re.search(r"(\d+) requests in ", text)
    rate = re.search(r"Requests/sec: +([\d.]+)", text)
    if not total or not rate:
        raise Failed("wrk said: " + " ".join(text.split()))
    figures = {"requests": int(total.group(1)),
               "krequests_s": float(rate.group(1)) / 1e3}
    for share, value, unit in re.findall(
            r"^ +(\d+)% +([\d.]+)(us|ms|s|m)$", text, re.M):
        figures[f"latency_p{share}"] = float(value) * UNITS[unit]
    return figures


def load_wrk(server, client, given, limit):
    check = answer_of(server)
    before = cpu_seconds(server.pid)
    done = subprocess.run(
        [client, "-t1", f"-c{given['conns']}", f"-d{given['seconds']}s",
         "--latency", f"http://127.0.0.1:{server.port}/"], text=True,
        timeout=limit, capture_output=True, check=False)
    if done.returncode != 0:
        raise Failed(f"wrk: {done.stderr.strip() or done.returncode}")
    figures = wrk_figures(done.stdout)
    used = cpu_seconds(server.pid) - before
    figures["cpu_us"] = used * 1e6 / max(figures["requests"], 1)
    figures["check"] = check
    return "".join(f"{k}={v:.6g}\n" if k != "check" else f"check={v}\n"
                   for k, v in figures.items())


def run(row, contender, path, programs, arguments, limit):
    """One run of a server.  Returns: what its client printed."""
    given = dict(a.split("=") for a in arguments[1:])
    given["work"] = arguments[0]
    if row.client == "wrk":
        client, load = shutil.which("wrk"), load_wrk
    else:
        client, load = programs.path("client", row.program), load_echo
    if not client:
        raise Missing(f"no client: {row.client}")
    example = row.example if contender in OURS else None
    command = server_command(path, example, given)
    with tempfile.NamedTemporaryFile(suffix=".json") as trace:
        if "trace" in given and contender == "mpg":
            command.append(f"--trace={trace.name}")
        with Server(command) as server:
            return load(server, client, given, limit)
