"""peers - the programs of each contender: where they are, how to build them.

mpg's are built by CMake.  The others are built here, into build/bench/peers,
when a source is newer than the program; what can't be built, because its
compiler or library is missing, is left out with a sentence.
"""
import glob
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
SOURCES = os.path.join(ROOT, "bench", "peers")
OUT = os.path.join(os.environ.get("BENCH_OUT", os.path.join(
    ROOT, "build", "bench")), "peers")
C_FLAGS = ["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra"]

OURS = ("mpg", "untraced")  # the second without the trace that a row is about

# contender -> (flags, libraries); a peer's source is
# peers/<contender>_<program>.c, or peers/<program>.c for several
C_PEERS = {
    "boehm": (["-DPEER_BOEHM"], ["-lgc"]),
    "jemalloc": (["-DPEER_JEMALLOC"], ["-ljemalloc"]),
    "glibc": ([], []),
    "pthread": ([], []),
    "roof": ([], []),
    "epoll": ([], []),
    "client": ([], []),
}


def newest(paths):
    return max(os.path.getmtime(p) for p in paths)


def is_current(program, sources):
    return (os.path.exists(program) and
            os.path.getmtime(program) >= newest(sources))


def attempt(command, cwd=None, env=None):
    """Runs a compiler.  Returns: None, or what went wrong."""
    try:
        done = subprocess.run(command, cwd=cwd, env=env, text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
    except FileNotFoundError:
        return f"{command[0]} is not installed"
    return None if done.returncode == 0 else done.stdout.strip()


class Programs:
    """Finds, and if need be builds, the program of a contender."""

    def __init__(self, mpg_build):
        self.mpg_build = mpg_build
        self.found = {}  # (contender, program) -> path or None
        self.said = set()

    def path(self, contender, program, example=None):
        """The program's path, or None when there is none.

        example: mpg's is that example program, not one of bench/.
        """
        if contender in OURS and example:
            path = os.path.join(self.mpg_build, "examples", example)
            return path if os.path.exists(path) else None
        if contender == "go":
            program = "go"
        key = (contender, program)
        if key not in self.found:
            self.found[key] = self.make(contender, program)
        return self.found[key]

    def make(self, contender, program):
        if contender == "mpg":
            path = os.path.join(self.mpg_build, "bench", program + "_bench")
            return path if os.path.exists(path) else None
        os.makedirs(OUT, exist_ok=True)
        if contender == "go":
            path, problem = self.make_go()
        else:
            path, problem = self.make_c(contender, program)
        if problem and problem not in self.said:
            self.said.add(problem)
            print(f"bench: {contender} is left out: {problem}",
                  file=sys.stderr)
        return None if problem else path

    def make_go(self):
        path = os.path.join(OUT, "go")
        folder = os.path.join(SOURCES, "go")
        if is_current(path, glob.glob(folder + "/*.go")):
            return path, None
        env = dict(os.environ, GO111MODULE="off", GOFLAGS="", CGO_ENABLED="0")
        if "HOME" not in env and "GOCACHE" not in env:
            env["GOCACHE"] = os.path.join(OUT, "go-cache")
        return path, attempt(["go", "build", "-o", path, "."], folder, env)

    def make_c(self, contender, program):
        path = os.path.join(OUT, f"{contender}_{program}")
        own = os.path.join(SOURCES, f"{contender}_{program}.c")
        shared = os.path.join(SOURCES, program + ".c")
        source = own if os.path.exists(own) else shared
        headers = glob.glob(os.path.join(ROOT, "bench", "**", "*.h"),
                            recursive=True)
        if is_current(path, [source] + headers):
            return path, None
        flags, libraries = C_PEERS[contender]
        cc = os.environ.get("CC", "cc").split()
        return path, attempt(cc + C_FLAGS + flags + [source, "-o", path] +
                             libraries + ["-lpthread", "-lm"])
