"""mpg-gdb.py - goroutines in gdb.

    (gdb) source mpg-gdb.py
    (gdb) info goroutines          every goroutine: id, status, where it is
    (gdb) goroutine 7 bt           run a command in goroutine 7's context
    (gdb) goroutine all bt         ... in each of them

A goroutine that runs is its thread; of one that doesn't, the registers that it
left on its stack are put into the current thread for the time of the command.
In a core file, where registers can't be written, its frames are listed by the
chain of frame pointers.  A stack that is swapped out (stack/home.c) is copied
back for the command.

Needs libmpg's debug information. Use "handle SIGURG nostop noprint pass".
"""
import gdb

CHUNK = 1024  # MPGI_ALLG_CHUNK
STATUS = {0: "idle", 1: "runnable", 2: "running", 3: "syscall", 4: "waiting",
          6: "dead", 8: "copystack", 9: "running"}
SCAN = 0x1000
GONE_FROZEN = 2  # MPGI_GONE_FROZEN

# What is on the stack at ctx.sp, lowest word first (thunks.S,
# preempt_entry.S), and how many bytes further the goroutine's SP was.
THUNK = ["r15", "r14", "r13", "r12", "rbx", "rbp", "rip"]
ASYNC = ["r15", "r14", "r13", "r12", "r11", "r10", "r9", "r8", "rdi", "rsi",
         "rbp", "rbx", "rdx", "rcx", "rax", "eflags", "rip"]
RED_ZONE = 128


def word(address):
    kind = gdb.lookup_type("unsigned long").pointer()
    return int(gdb.Value(address).cast(kind).dereference())


def symbol(address):
    """<name+offset> of the code there."""
    kind = gdb.lookup_type("void").pointer()
    return str(gdb.Value(int(address)).cast(kind))


class Goroutine:
    def __init__(self, g):
        self.g = g
        self.id = int(g["goid"])
        self.status = int(g["status"]) & ~SCAN
        self.m = g["m"] if int(g["m"]) else None

    def is_live(self):
        if self.status in (0, 6) or self.id == 0:
            return False
        return not (self.m and int(self.m["gone"]) == GONE_FROZEN)

    def reason(self):
        if self.status != 4:
            return STATUS.get(self.status, "?")
        try:
            value = gdb.parse_and_eval("(enum mpgi_wait_reason) %d" %
                                       int(self.g["wait_reason"]))
            return str(value).replace("MPGI_WAIT_", "").lower()
        except gdb.error:
            return "waiting"

    def image(self):
        """What is swapped out: (where it is, where it belongs, bytes)."""
        if not int(self.g["movable"]):
            return None
        movable = gdb.lookup_type("struct mpgi_movable").pointer()
        image = int(self.g.cast(movable)["image"])
        sp = int(self.g["ctx"]["sp"])
        hi = int(self.g["seg0"]["hi"])
        return (image, sp, hi - sp) if image else None

    def word(self, address):
        """Of its stack."""
        image = self.image()
        if image and 0 <= address - image[1] < image[2]:
            address += image[0] - image[1]
        return word(address)

    def copy_back(self):
        image = self.image()
        if image:
            inferior = gdb.selected_inferior()
            inferior.write_memory(image[1],
                                  inferior.read_memory(image[0], image[2]))

    def thread(self):
        """The gdb thread that runs it, or None."""
        if self.m and self.status in (2, 3, 8, 9):
            tid = int(self.m["tid"])
            for t in gdb.selected_inferior().threads():
                if t.ptid[1] == tid:
                    return t
        return None

    def registers(self):
        """Name and value of each that it left on its stack."""
        ctx = self.g["ctx"]
        sp = int(ctx["sp"])
        layout, skip = (ASYNC, RED_ZONE) if int(ctx["xsave"]) else (THUNK, 0)
        if self.status == 1 and "mpg_goroutine_start" in symbol(ctx["pc"]):
            return {"rip": int(self.g["fn"]), "rsp": sp, "rbp": 0}
        regs = {name: self.word(sp + 8 * i) for i, name in enumerate(layout)}
        regs["rsp"] = sp + 8 * len(layout) + skip
        return regs

    def where(self):
        t = self.thread()
        if t is None:
            return place(self.registers()["rip"])
        old = gdb.selected_thread()
        try:
            t.switch()
            return place(gdb.newest_frame().pc())
        finally:
            if old:
                old.switch()


def place(pc):
    block = gdb.block_for_pc(pc)
    while block and not block.function:
        block = block.superblock
    name = str(block.function) if block else "?"
    sal = gdb.find_pc_line(pc)
    if sal.symtab:
        return "%s at %s:%d" % (name, sal.symtab.filename, sal.line)
    return "%s (0x%x)" % (name, pc)


def goroutines():
    sched = gdb.parse_and_eval("mpgi_sched")
    for i in range(int(sched["nallg"])):
        g = Goroutine(sched["allg"][i // CHUNK][i % CHUNK])
        if g.is_live():
            yield g


class InfoGoroutines(gdb.Command):
    """List goroutines: id, status, where they are; * is the current one."""

    def __init__(self):
        super().__init__("info goroutines", gdb.COMMAND_STACK,
                         gdb.COMPLETE_NONE)

    def invoke(self, arg, from_tty):
        current = gdb.selected_thread()
        for g in goroutines():
            t = g.thread()
            mine = t is not None and current and t.num == current.num
            name = g.g["name"].string() if int(g.g["name"]) else ""
            print("%s %5d  %-20s %s %s" % ("*" if mine else " ", g.id,
                                           g.reason(), g.where(), name))


def by_frame_pointers(g):
    regs = g.registers()
    pc, fp = regs["rip"], regs["rbp"]
    for n in range(1000):
        print("#%-3d 0x%016x in %s" % (n, pc, place(pc)))
        if not fp:
            return
        up, pc = g.word(fp), g.word(fp + 8)
        if "morestack" in symbol(pc):  # its frame: morestack.S
            pc, up = g.word(up + 16), g.word(up)
        fp = up


class GoroutineCommand(gdb.Command):
    """goroutine ID|all COMMAND: run COMMAND as if that goroutine ran here."""

    def __init__(self):
        super().__init__("goroutine", gdb.COMMAND_STACK, gdb.COMPLETE_NONE)

    def invoke(self, arg, from_tty):
        words = arg.split(None, 1)
        if len(words) != 2:
            raise gdb.GdbError("usage: goroutine ID|all COMMAND")
        which, command = words
        found = False
        for g in list(goroutines()):
            if which != "all" and str(g.id) != which:
                continue
            found = True
            if which == "all":
                print("\ngoroutine %d [%s]:" % (g.id, g.reason()))
            self.run(g, command, from_tty)
        if not found:
            raise gdb.GdbError("no goroutine " + which)

    def run(self, g, command, from_tty):
        old = gdb.selected_thread()
        t = g.thread()
        try:
            if t is not None:
                t.switch()
                gdb.newest_frame().select()
                gdb.execute(command, from_tty)
            else:
                self.run_parked(g, command, from_tty)
        finally:
            if old and old.is_valid():
                old.switch()

    def run_parked(self, g, command, from_tty):
        gdb.newest_frame().select()
        regs = g.registers()
        saved = {r: int(gdb.parse_and_eval("(unsigned long) $" + r))
                 for r in regs if r != "eflags"}
        try:
            g.copy_back()
            for r in saved:
                gdb.execute("set var $%s = %d" % (r, regs[r]))
        except gdb.error:  # a core file
            if command.split()[0] not in ("bt", "backtrace", "where"):
                raise
            by_frame_pointers(g)
            return
        try:
            gdb.newest_frame().select()
            gdb.execute(command, from_tty)
        finally:
            gdb.newest_frame().select()
            for r, value in saved.items():
                gdb.execute("set var $%s = %d" % (r, value))


InfoGoroutines()
GoroutineCommand()
