"""gate - instruction counts of hot paths against a baseline."""


def main(build, update):
    raise SystemExit("bench: gate: nothing to count")
