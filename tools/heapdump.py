#!/usr/bin/env python3
"""heapdump.py - why is an object alive?  Reads what mpg_heap_dump wrote.

usage: heapdump.py FILE            objects by size: count and bytes
       heapdump.py FILE ADDRESS    a shortest chain of references from a root
                                   to the object that ADDRESS points into
"""
import bisect
import collections
import sys


def load(path):
    objects, refs, roots, current = {}, collections.defaultdict(list), [], 0
    with open(path) as f:
        if f.readline() != "mpg heap dump 1\n":
            sys.exit(path + ": not a heap dump")
        for line in f:
            what, *rest = line.split()
            if what == "object":
                current = int(rest[0], 16)
                objects[current] = (int(rest[1], 16), rest[2])
            elif what == "ref":
                refs[current].append((int(rest[0], 16), int(rest[1], 16)))
            elif what == "entry":
                refs[int(rest[0], 16)].append((rest[1], int(rest[2], 16)))
            elif what == "root":
                roots.append((int(rest[0], 16), int(rest[1], 16)))
    return objects, refs, roots


def summary(objects):
    count, total = collections.Counter(), collections.Counter()
    for size, kind in objects.values():
        count[size, kind] += 1
        total[size, kind] += size
    for key, n in total.most_common(40):
        print(f"{n:14} bytes in {count[key]:9} objects of {key[0]:9} {key[1]}")


def chain(objects, refs, roots, address):
    starts = sorted(objects)
    i = bisect.bisect_right(starts, address) - 1
    if i < 0 or address > starts[i] + objects[starts[i]][0]:
        sys.exit(f"{address:#x} is in no live object")
    target, via = starts[i], {}
    todo = collections.deque()
    for at, obj in roots:
        if obj not in via:
            via[obj] = (at, None)
            todo.append(obj)
    while todo and target not in via:
        obj = todo.popleft()
        for at, to in refs[obj]:
            if to not in via:
                via[to] = (at, obj)
                todo.append(to)
    if target not in via:
        sys.exit(f"{target:#x}: no root leads to it")
    steps = []
    while target is not None:
        at, source = via[target]
        size, kind = objects[target]
        steps.append((target, size, kind, at, source))
        target = source
    for obj, size, kind, at, source in reversed(steps):
        where = (f"root word {at:#x}" if source is None
                 else f"key {source:#x} of weak map {at}"
                 if isinstance(at, str)
                 else f"offset {at - source} of {source:#x}")
        print(f"{obj:#x} ({size} bytes, {kind}) by {where}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    dump = load(sys.argv[1])
    if len(sys.argv) == 2:
        summary(dump[0])
    else:
        chain(*dump, int(sys.argv[2], 16))
