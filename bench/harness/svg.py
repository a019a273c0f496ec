"""svg - small charts as SVG text: lines on log axes, horizontal bars."""
import html
import math

COLOURS = {"mpg": "#1764ab", "go": "#c2571a", "boehm": "#2e8540",
           "jemalloc": "#7b4fa3", "glibc": "#8a6d3b", "pthread": "#5b6770",
           "roof": "#999999", "epoll": "#0a9396", "p50": "#8fb8de", "p99": "#1764ab"}
SPARE = ["#1764ab", "#c2571a", "#2e8540", "#7b4fa3", "#8a6d3b", "#5b6770",
         "#b5179e", "#0a9396", "#999999"]
WIDTH, HEIGHT = 640, 330
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 14, 48


def colour(name, index=0):
    return COLOURS.get(name, SPARE[index % len(SPARE)])


def text(x, y, words, anchor="middle", extra=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
            f'font-size="12"{extra}>{html.escape(str(words))}</text>')


def short(x):
    """A tick's number: 0.001, 10, 10k."""
    for unit, factor in (("M", 1e6), ("k", 1e3)):
        if x >= factor:
            return f"{x / factor:g}{unit}"
    return f"{x:g}"


def opening(height):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" font-family="sans-serif">'
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>')


class LogAxis:
    """Maps [lo, hi] to [a, b] by logarithm; ticks at powers of ten."""

    def __init__(self, values, a, b):
        values = [v for v in values if v > 0] or [1]
        self.lo = 10 ** math.floor(math.log10(min(values)) + 1e-9)
        self.hi = 10 ** math.ceil(math.log10(max(values)) - 1e-9)
        if self.hi <= self.lo:
            self.hi = self.lo * 10
        self.a, self.b = a, b

    def at(self, v):
        v = max(v, self.lo)
        share = math.log(v / self.lo) / math.log(self.hi / self.lo)
        return self.a + share * (self.b - self.a)

    def ticks(self):
        n = round(math.log10(self.hi / self.lo))
        if n <= 2:  # powers of ten alone would be too few
            return [self.lo * 10 ** i * k for i in range(n)
                    for k in (1, 2, 5)] + [self.hi]
        step = max(1, -(-n // 8))
        return [self.lo * 10 ** i for i in range(0, n + 1, step)]


def frame(x, y, x_name, y_name):
    out = []
    for t in x.ticks():
        out.append(f'<line x1="{x.at(t):.1f}" x2="{x.at(t):.1f}" y1="{TOP}" '
                   f'y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        out.append(text(x.at(t), HEIGHT - BOTTOM + 16, short(t)))
    for t in y.ticks():
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" '
                   f'y1="{y.at(t):.1f}" y2="{y.at(t):.1f}" stroke="#ddd"/>')
        out.append(text(LEFT - 6, y.at(t) + 4, short(t), "end"))
    out.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_name))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    out.append(text(14, middle, y_name, "middle",
                    f' transform="rotate(-90 14 {middle:.1f})"'))
    return out


def legend(names, x, y):
    out = []
    for i, name in enumerate(names):
        out.append(f'<rect x="{x}" y="{y + 17 * i - 9}" width="14" height="4" '
                   f'fill="{colour(name, i)}"/>')
        out.append(text(x + 20, y + 17 * i - 3, name, "start"))
    return out


def lines(series, x_name, y_name, steps=False):
    """series: name -> [[x, y], ...]; both axes logarithmic."""
    series = {n: [p for p in points if p[0] > 0 and p[1] > 0]
              for n, points in series.items()}
    series = {n: p for n, p in series.items() if p}
    x = LogAxis([p[0] for s in series.values() for p in s], LEFT,
                WIDTH - RIGHT)
    y = LogAxis([p[1] for s in series.values() for p in s], HEIGHT - BOTTOM,
                TOP)
    out = [opening(HEIGHT)] + frame(x, y, x_name, y_name)
    for i, (name, points) in enumerate(series.items()):
        path, before = [], None
        for px, py in points:
            if steps and before is not None:
                path.append(f"{x.at(px):.1f},{y.at(before):.1f}")
            path.append(f"{x.at(px):.1f},{y.at(py):.1f}")
            before = py
        if steps:  # nothing is larger than the last
            path.append(f"{x.at(points[-1][0]):.1f},{y.a:.1f}")
        out.append(f'<polyline points="{" ".join(path)}" fill="none" '
                   f'stroke="{colour(name, i)}" stroke-width="2"/>')
        if not steps:
            out += [f'<circle cx="{x.at(px):.1f}" cy="{y.at(py):.1f}" r="3" '
                    f'fill="{colour(name, i)}"/>' for px, py in points]
    top = HEIGHT - BOTTOM - 17 * len(series) if steps else TOP + 18
    out += legend(series, LEFT + 12, top)
    return "\n".join(out + ["</svg>"])


def bars(groups, unit):
    """groups: label -> {name: value}; a logarithmic axis from the left."""
    values = [v for g in groups.values() for v in g.values() if v > 0]
    names = list(dict.fromkeys(n for g in groups.values() for n in g))
    row, gap, left = 15, 12, 190
    height = TOP + 34 + sum(len(g) * row + gap for g in groups.values())
    axis = LogAxis([v * 0.5 for v in values] + values, left, WIDTH - 70)
    out, y = [opening(height)], TOP
    for label, group in groups.items():
        out.append(text(left - 8, y + len(group) * row / 2 + 4, label, "end"))
        for name, v in group.items():
            width = max(axis.at(v) - left, 1) if v > 0 else 1
            i = names.index(name)
            out.append(f'<rect x="{left}" y="{y}" width="{width:.1f}" '
                       f'height="{row - 3}" fill="{colour(name, i)}"/>')
            told = f"{v:.3g}" if v < 1000 else f"{v:,.0f}"
            if len(names) > 1:
                told += f" {name}"
            out.append(text(left + width + 4, y + row - 4, told, "start"))
            y += row
        y += gap
    out.append(text((left + WIDTH) / 2, height - 10,
                    f"{unit} (logarithmic)"))
    return "\n".join(out + ["</svg>"])
