"""machine - what was measured, on what, how busy it was."""
import contextlib
import datetime
import mmap
import os
import platform
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


def first_line(*command):
    """First line of a command's output, or "-"."""
    try:
        out = subprocess.run(command, cwd=ROOT, text=True, check=True,
                             capture_output=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "-"
    return out.splitlines()[0] if out else "-"


def read_field(path, pattern):
    try:
        with open(path, encoding="utf-8") as f:
            m = re.search(pattern, f.read(), re.M)
    except OSError:
        return "-"
    return m.group(1).strip() if m else "-"


def commit():
    """The commit, with a plus when files differ from it."""
    name = first_line("git", "rev-parse", "--short=12", "HEAD")
    changed = first_line("git", "status", "--porcelain", "-uno") != "-"
    return name + ("+" if changed else "")


def package(name):
    return first_line("dpkg-query", "-W", "-f", "${Version}", name)


def describe():
    """What doesn't change while the benches run."""
    return {
        "date": datetime.datetime.now().astimezone().isoformat(
            timespec="seconds"),
        "commit": commit(),
        "cpu": read_field("/proc/cpuinfo", r"model name\s*:\s*(.*)"),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mib": int(read_field("/proc/meminfo",
                                     r"MemTotal:\s*(\d+)") or 0) // 1024,
        "kernel": platform.release(),
        "system": read_field("/etc/os-release", r'PRETTY_NAME="(.*)"'),
        "huge_pages": read_field(
            "/sys/kernel/mm/transparent_hugepage/enabled", r"\[(\w+)\]"),
        "compiler": first_line(os.environ.get("CC", "cc").split()[0],
                               "--version"),
        "go": first_line("go", "version"),
        "boehm": package("libgc-dev"),
        "jemalloc": package("libjemalloc-dev"),
        "glibc": " ".join(platform.libc_ver()),
    }


def available_mib():
    text = read_field("/proc/meminfo", r"MemAvailable:\s*(\d+)")
    return int(text) // 1024 if text != "-" else 0


def touched(mib, advice):
    m = mmap.mmap(-1, mib << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without huge pages
        m.madvise(advice)
    for _ in range(mib):
        m.write(b"\1" * (1 << 20))
    return m


def warm(mib):
    """Touch memory and give it back: as huge pages where there are some, and
    as small ones at the same time, which come from other lists of the
    kernel's.  The host of a virtual machine may take back what has been free
    for a while; who touches it first waits for the host, and what that one
    allocates with has no part in it."""
    mib = min(mib, available_mib() // 4)
    if mib == 0:
        return
    # In a child: our peak would be that of every program we start later.
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _at_once = [touched(mib, mmap.MADV_HUGEPAGE),
                        touched(mib, mmap.MADV_NOHUGEPAGE)]
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(pid, 0)[1] != 0:
        raise MemoryError(f"can't touch {mib} MiB before a run")


def load():
    """Processes that wanted a CPU over the last minute."""
    return os.getloadavg()[0]
