#!/usr/bin/env python3
"""Generate gc/sizeclass.def: the size classes of the collected heap.

    tools/sizeclass.py > gc/sizeclass.def

A pointer one past the end of an object keeps it alive.  So that it isn't also
the start of the next object, the last 8 bytes of a cell are never part of an
object (docs/design/heap.md).  Cells are multiples of 16 bytes; a request of n
takes at least n + 8 and at least 32, which is what glibc's malloc takes.

Rules
  - steps of 16 up to 256, then eight steps in each doubling, the first of
    which is the power of two + 16;
  - a power of two's class gives exactly that many usable bytes; up to 128 it
    has a twin of the same cell size for 8 bytes more;
  - a span is the shortest run of 8 KiB pages (at most 16) that holds enough
    objects to make a refill cheap and whose tail wastes at most 1/TAIL;
  - other classes are then widened while as many objects fit as before, and
    dropped when the next one is within 1/32.
tests/unit/gc_sizeclass_test.c checks the table against these rules.
"""

GRANULE = 16
PAD = 8
MIN_CELL = 32
PAGE = 8192
MAX_CELL = 30720
MAX_PAGES = 16
MAX_TWIN = 128
TAIL = 14  # the tail of a span may waste 1/TAIL of it


def power_of_two(n):
    return n & (n - 1) == 0


def nominal_cells():
    cell = MIN_CELL
    while cell <= 256:
        yield cell
        cell += GRANULE
    power = 256
    while power <= MAX_CELL:
        yield power + GRANULE
        for step in range(9, 16):
            yield power // 8 * step
        power *= 2


def min_objects(cell):
    return 15 if cell <= 1040 else 7 if cell <= 4112 else 4


def pages_for(cell):
    for pages in range(1, MAX_PAGES + 1):
        span = pages * PAGE
        if span // cell >= min_objects(cell) and span % cell * TAIL <= span:
            return pages
    raise SystemExit(f"no span for cells of {cell} bytes")


def widened(cell, pages):
    if power_of_two(cell - GRANULE):
        return cell
    objects = pages * PAGE // cell
    return pages * PAGE // objects // GRANULE * GRANULE


def next_fixed(cell):
    """The next cell that is a power of two + 16."""
    power = 1 << (cell - GRANULE).bit_length()
    return power + GRANULE


def classes():
    last = 0
    for cell in nominal_cells():
        if cell <= last or cell > MAX_CELL:
            continue
        pages = pages_for(cell)
        cell = last = widened(cell, pages)
        exact = power_of_two(cell - GRANULE)
        if not exact and (next_fixed(cell) - cell) * 32 < cell:
            continue
        if exact:
            yield cell, cell - GRANULE, pages
        if not exact or cell - GRANULE <= MAX_TWIN:
            yield cell, cell - PAD, pages


def main():
    print("/* Made by tools/sizeclass.py; don't edit.\n"
          " * MPGI_SIZECLASS(class, cell bytes, usable bytes, span pages,\n"
          " *                objects, tail of a span in bytes,\n"
          " *                worst waste of a full span in 1/1000) */")
    last = 0
    for index, (cell, usable, pages) in enumerate(classes(), 1):
        span = pages * PAGE
        objects = span // cell
        tail = span - objects * cell
        worst = (objects * (cell - last - 1) + tail) * 1000 // span
        print(f"MPGI_SIZECLASS({index}, {cell}, {usable}, {pages}, {objects}, "
              f"{tail}, {worst})")
        last = usable


main()
