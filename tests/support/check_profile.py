#!/usr/bin/env python3
"""check_profile.py - is a file of mpg_heap_profile what it says it is?

usage: check_profile.py FILE [TYPE FUNCTION LOW HIGH]...

Reads pprof's profile.proto.  Every id must be defined, every string exist,
addresses lie in their mappings.  The values of TYPE (alloc_objects,
alloc_space, inuse_objects, inuse_space), summed over samples with FUNCTION
(a name, or name:line for the line of the call in it) on their stack, must be
between LOW and HIGH; TOTAL stands for all samples.
"""
import sys

TYPES = ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]


def fail(*what):
    sys.exit("check_profile: " + " ".join(str(w) for w in what))


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            fail("a varint of more than ten bytes")


def fields(data):
    """(number, value) pairs: an int, or bytes."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 == 2:
            n, at = varint(data, at)
            if n > len(data) - at:
                fail("field", tag >> 3, "ends beyond its message")
            value = data[at:at + n]
            at += n
        else:
            fail("wire type", tag & 7)
        yield tag >> 3, value


def packed(data):
    at, out = 0, []
    while at < len(data):
        value, at = varint(data, at)
        out.append(value)
    return out


def by_id(messages, what):
    out = {}
    for m in messages:
        if m.get(1, 0) == 0 or m[1] in out:
            fail(what, "with id", m.get(1))
        out[m[1]] = m
    return out


class Profile:
    def __init__(self, data):
        top = {}
        for number, value in fields(data):
            top.setdefault(number, []).append(value)
        self.strings = [s.decode() for s in top[6]]
        if self.strings[0] != "":
            fail("the first string is not empty")
        types = [dict(fields(m)) for m in top[1]]
        if [self.strings[t[1]] for t in types] != TYPES:
            fail("sample types", types)
        units = [self.strings[t[2]] for t in types]
        if units != ["count", "bytes"] * 2:
            fail("units", units)
        self.mappings = by_id([dict(fields(m)) for m in top[3]], "mapping")
        self.functions = by_id(
            [dict(fields(m)) for m in top.get(5, [])], "function")
        self.locations = by_id(
            [dict(fields(m)) for m in top.get(4, [])], "location")
        self.samples = [dict(fields(m)) for m in top.get(2, [])]
        self.period = top[12][0]

    def frames(self, location):
        """{name, name:line} of a location."""
        m = self.locations[location]
        if m.get(2, 0) != 0:
            mapping = self.mappings[m[2]]
            if not mapping[2] <= m[3] < mapping[3]:
                fail("address outside its mapping:", hex(m[3]))
        if 4 not in m:
            return set()
        line = dict(fields(m[4]))
        name = self.strings[self.functions[line[1]][2]]
        name = name.split(".")[0]  # without .constprop.0 and the like
        return {name, "%s:%d" % (name, line.get(2, 0))}

    def sum(self, kind, function):
        total = 0
        for s in self.samples:
            values = packed(s[2])
            if len(values) != len(TYPES):
                fail("a sample with", len(values), "values")
            names = {"TOTAL"}
            for location in packed(s.get(1, b"")):
                names |= self.frames(location)
            if function in names:
                total += values[TYPES.index(kind)]
        return total


def main(path, *wanted):
    with open(path, "rb") as f:
        profile = Profile(f.read())
    profile.sum("alloc_space", "TOTAL")  # looks at every location
    for i in range(0, len(wanted), 4):
        kind, function, low, high = wanted[i:i + 4]
        value = profile.sum(kind, function)
        if not int(low) <= value <= int(high):
            fail(kind, "of", function, "is", value, "not", low, "to", high)


if __name__ == "__main__":
    main(*sys.argv[1:])
