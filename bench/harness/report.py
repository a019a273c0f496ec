"""report - the last results as an HTML page and as PNG files.

The page is one file with SVG in it and needs no network.  The PNGs are
gnuplot's, of the same pictures; without gnuplot there are none.  The table is
written as text, too (results.md), for docs/benchmarks.md.
"""
import html
import json
import os
import re
import shutil
import subprocess
import sys

from . import machine, measure, svg

OUT = measure.OUT
STYLE = """
body { font: 15px/1.45 sans-serif; max-width: 1100px; margin: 2em auto;
       padding: 0 1em; color: #222; }
table { border-collapse: collapse; font-size: 13px; }
td, th { border-bottom: 1px solid #ddd; padding: 3px 8px; text-align: left;
         vertical-align: top; }
td.n { text-align: right; white-space: nowrap; }
td.row { max-width: 300px; }
td span { display: inline-block; margin: 0 4px 2px 0; padding: 0 4px;
          white-space: nowrap; border-radius: 3px; }
.met { background: #d7f0dc; } .missed { background: #f9d9d4; }
.none { background: #eee; }
figure { display: inline-block; margin: 0 1em 1.5em 0; max-width: 640px; }
figcaption { font-size: 13px; max-width: 640px; }
"""


class Results:
    """Results of a run by row and figure."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            self.all = json.load(f)
        self.rows = {r["id"]: r for r in self.all["rows"]}

    def median(self, row, figure, contender):
        values = self.rows.get(row, {}).get("figures", {}).get(figure, {})
        return values[contender]["median"] if contender in values else None

    def group(self, row, figure):
        """Medians by contender."""
        values = self.rows.get(row, {}).get("figures", {}).get(figure, {})
        return {c: v["median"] for c, v in values.items()}

    def curve(self, row, name):
        return self.rows.get(row, {}).get("curves", {}).get(name, {})


# ---- pictures: each is (file name, caption, kind, data, axes) ----

def pauses(results):
    for mib in (64, 16, 256, 512):
        curves = results.curve(f"gc.live{mib}", "pause_curve")
        if curves:
            return ("pauses", f"Pauses with {mib} MiB live: the share of "
                    "pauses that are longer", "steps", curves,
                    ("pause, ms", "share of pauses longer"))
    return None


def stops(results):
    groups = {}
    for row in results.rows:
        value = results.median(row, "stop_p50", "mpg")
        if row.startswith("stw.") and value is not None:
            groups[row[4:]] = {
                "p50": value, "p99": results.median(row, "stop_p99", "mpg")}
    return ("stops", "Time to stop the world beside each kind of loop (mpg)",
            "bars", groups, ("µs",))


def sizes(results):
    series = {}
    for size in (16, 32, 64, 512, 4096):
        for c, v in results.group(f"gc.alloc{size}", "ns").items():
            series.setdefault(c, []).append([size, v])
    return ("sizes", "Allocating an object with pointers, one thread",
            "lines", series, ("bytes", "ns"))


def marking(results):
    groups = {}
    for row, label in (("gc.mark_random", "random order, 1 marker"),
                       ("gc.mark_randomx2", "random order, 2 markers"),
                       ("gc.mark_ordered", "memory order, 1 marker"),
                       ("gc.mark_orderedx2", "memory order, 2 markers")):
        groups[label] = results.group(row, "mobj_s")
    return ("marking", "Objects of 32 bytes marked a second, in millions; "
            "roof: one thread that does nothing but traverse with a prefetch "
            "ring", "bars", groups, ("million objects a second",))


def wake_ups(results):
    curves = results.curve("sched.sleep_loops2", "late_curve")
    return ("wake_ups", "A 1 ms sleep behind loops on both Ps: the share of "
            "wake-ups that are later", "steps", curves,
            ("late, µs", "share of wake-ups later"))


def goroutine_bytes(results):
    series = {}
    for row, n in (("sched.park1k", 1e3), ("sched.park10k", 1e4),
                   ("sched.park100k", 1e5), ("sched.park", 1e6)):
        for c, v in results.group(row, "bytes").items():
            series.setdefault(c, []).append([n, v])
    return ("bytes", "Resident bytes of a parked goroutine", "lines", series,
            ("goroutines", "bytes each"))


def stacks(results):
    series = {}
    for row, n in (("gc.stacks10k", 1e4), ("gc.stacks100k", 1e5),
                   ("gc.stacks1m", 1e6)):
        for c, v in results.group(row, "ms").items():
            series.setdefault(c, []).append([n, v])
    return ("stacks", "A full collection with many parked stacks of 1 KiB",
            "lines", series, ("stacks", "ms"))


def messages(results):
    curves = results.curve("io.echo_loops", "latency_curve")
    return ("messages", "A message through an echo server and back, beside "
            "loops on both Ps: the share that takes longer", "steps", curves,
            ("ms", "share of messages later"))


def servers(results):
    groups = {}
    for row, label in (("io.echo", "echo, 1 P"), ("io.echox2", "echo, 2 Ps"),
                       ("io.http", "HTTP, 1 P"), ("io.httpx2", "HTTP, 2 Ps")):
        groups[label] = results.group(row, "cpu_us")
    return ("servers", "CPU time of a server for each message or request",
            "bars", groups, ("µs",))


def applications(results):
    groups = {}
    for row in results.rows:
        if row.startswith("app."):
            groups[row[4:]] = results.group(row, "ms")
    return ("applications", "Applications: time to run (see the rows for what "
            "they do)", "bars", groups, ("ms",))


def live_heap(results):
    series = {}
    for mib in (16, 64, 256, 512, 2048):
        for c, v in results.group(f"gc.live{mib}", "kops_s").items():
            series.setdefault(c, []).append([mib, v])
    return ("live", "Records replaced beside a live heap, in thousands a "
            "second", "lines", series, ("MiB live", "thousand a second"))


PICTURES = [pauses, stops, wake_ups, messages, sizes, marking, live_heap,
            stacks, goroutine_bytes, servers, applications]


def draw_svg(picture):
    _, _, kind, data, axes = picture
    if kind == "bars":
        return svg.bars(data, axes[0])
    return svg.lines(data, axes[0], axes[1], kind == "steps")


def has_data(picture):
    return picture is not None and any(picture[3].values())


# ---- gnuplot ----

PLOT_HEAD = """set terminal pngcairo size 900,500 font "sans,11"
set output "{out}"
set title "{title}"
set grid
set key outside right top Left reverse
set logscale {scale}
"""


def title_of(caption):
    """A picture's title: the caption without what explains it."""
    return re.split(r"[:;(]", caption)[0].strip()


def plot_lines(picture, out):
    _, caption, kind, data, axes = picture
    script = PLOT_HEAD.format(out=out, title=title_of(caption), scale="xy")
    script += f'set xlabel "{axes[0]}"\nset ylabel "{axes[1]}"\n'
    style = "steps lw 2" if kind == "steps" else "linespoints lw 2 pt 7"
    plots, blocks = [], []
    for i, (name, points) in enumerate(data.items()):
        rows = [f"{x} {y}" for x, y in points if x > 0 and y > 0]
        if rows:
            blocks.append(f"$d{i} << EOD\n" + "\n".join(rows) + "\nEOD\n")
            plots.append(f'$d{i} with {style} lc rgb '
                         f'"{svg.colour(name, i)}" title "{name}"')
    return script + "".join(blocks) + "plot " + ", ".join(plots) + "\n"


def plot_bars(picture, out):
    _, caption, _, data, axes = picture
    names = list(dict.fromkeys(n for g in data.values() for n in g))
    script = PLOT_HEAD.format(out=out, title=title_of(caption), scale="y")
    script += (f'set ylabel "{axes[0]}"\nset style data histogram\n'
               "set style fill solid\nset xtics rotate by -20\n$d << EOD\n")
    for label, group in data.items():
        cells = [str(group.get(n, "-")) for n in names]
        script += f'"{label}" ' + " ".join(cells) + "\n"
    plots = [f'$d using {i + 2}:xtic(1) lc rgb "{svg.colour(n, i)}" '
             f'title "{n}"' for i, n in enumerate(names)]
    return script + "EOD\nplot " + ", ".join(plots) + "\n"


def draw_png(picture):
    out = os.path.join(OUT, picture[0] + ".png")
    make = plot_bars if picture[2] == "bars" else plot_lines
    done = subprocess.run(["gnuplot"], input=make(picture, out), text=True,
                          capture_output=True, check=False)
    if done.returncode != 0:
        print(f"bench: report: {picture[0]}: gnuplot: {done.stderr.strip()}",
              file=sys.stderr)
    return done.returncode == 0


# ---- the table ----

def cell(words, css=""):
    return f'<td class="{css}">{html.escape(words)}</td>'


def target_cells(targets):
    if not targets:
        return cell("")
    states = [t["met"] for t in targets]
    css = ("missed" if False in states else
           "none" if None in states else "met")
    return cell("; ".join(t["text"] for t in targets), css)


def peer_words(name, values, ratio):
    told = f"{name} {measure.number(values['median'])}"
    if ratio is None:
        return f"<span>{html.escape(told)}</span>"
    css = "met" if ratio >= 1 else "missed"
    return (f'<span class="{css}">{html.escape(told)} '
            f"({measure.times(ratio)})</span>")


def figure_cells(row, name, values):
    verdict = row["verdicts"][name]
    unit = "" if name == verdict["unit"] else f", {verdict['unit']}"
    peers = [peer_words(p, v, verdict["ratios"].get(p))
             for p, v in values.items() if p != "mpg"]
    return (cell(name + unit) + cell(measure.spread(values["mpg"]), "n") +
            f"<td>{' '.join(peers)}</td>" + target_cells(verdict["targets"]))


def table_rows(row):
    """A row's lines: its title stands beside all its figures."""
    cells = [figure_cells(row, name, values)
             for name, values in row["figures"].items() if "mpg" in values]
    title = (f'<td class="row" rowspan="{len(cells)}">'
             f'{html.escape(row["title"])}</td>')
    return [f"<tr>{title if i == 0 else ''}{c}</tr>"
            for i, c in enumerate(cells)]


def table(results):
    out, area = [], None
    for row in results.rows.values():
        if row["id"].split(".")[0] != area:
            area = row["id"].split(".")[0]
            out += ["</table>" if out else "", f"<h3>{area}</h3><table>",
                    "<tr><th>row<th>figure<th>mpg<th>peers (mpg is better by)"
                    "<th>target</tr>"]
        out += table_rows(row)
    return "\n".join(out + ["</table>"])


def tally(results):
    met = [t["met"] for r in results.rows.values()
           for v in r["verdicts"].values() for t in v["targets"]]
    return (f"{met.count(True)} targets are met, {met.count(False)} missed, "
            f"{met.count(None)} not measured.")


# ---- the same as text, for docs/benchmarks.md ----

def state_words(targets):
    words = {True: "met", False: "**missed**", None: "not measured"}
    return "; ".join(f"{t['text'].replace('<=', '≤').replace('>=', '≥')}: "
                     f"{words[t['met']]}" for t in targets)


def peers_words(values, verdict):
    out = []
    for name, v in values.items():
        ratio = verdict["ratios"].get(name)
        if name != "mpg":
            out.append(f"{name} {measure.number(v['median'])}" +
                       (f" ({measure.times(ratio)})" if ratio is not None
                        else ""))
    return ", ".join(out)


def write_text(results, path):
    lines = ["| row | figure | mpg | peers (mpg is better by) | target |",
             "| --- | --- | --- | --- | --- |"]
    for row in results.rows.values():
        for name, values in row["figures"].items():
            if "mpg" not in values:
                continue
            verdict = row["verdicts"][name]
            unit = "" if name == verdict["unit"] else f", {verdict['unit']}"
            lines.append(f"| `{row['id']}` | {name}{unit} | "
                         f"{measure.spread(values['mpg'])} | "
                         f"{peers_words(values, verdict)} | "
                         f"{state_words(verdict['targets'])} |")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


# ---- the page ----

def heading(results):
    head = results.all["machine"]
    words = [f"{k.replace('_', ' ')}: {v}" for k, v in head.items()]
    kind = "Quick results" if results.all["quick"] else "Results"
    return (f"<h1>mpg benchmarks</h1><p>{kind}, "
            f"{results.all['runs']} runs of each contender, in turn. "
            "Figures are medians (fastest run - slowest run); a ratio says "
            "how many times better mpg is.</p>"
            f"<p>{html.escape('; '.join(words))}</p>"
            f"<p>{tally(results)}</p>")


def write_page(results, pictures, path):
    parts = ["<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\">"
             "<title>mpg benchmarks</title>"
             f"<style>{STYLE}</style>", heading(results)]
    for p in pictures:
        parts.append(f"<figure>{draw_svg(p)}<figcaption>{html.escape(p[1])}"
                     "</figcaption></figure>")
    parts += ["<h2>All rows</h2>", table(results), "</html>"]
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(parts))


def main(path):
    path = path or os.path.join(OUT, "results.json")
    try:
        results = Results(path)
    except FileNotFoundError:
        print(f"bench: report: {path} isn't there: measure first: "
              "./run bench", file=sys.stderr)
        return 1
    except (ValueError, KeyError) as e:
        print(f"bench: report: {path} holds no results: {e}", file=sys.stderr)
        return 1
    os.makedirs(OUT, exist_ok=True)
    pictures = [p for p in (make(results) for make in PICTURES)
                if has_data(p)]
    page = os.path.join(OUT, "report.html")
    write_page(results, pictures, page)
    write_text(results, os.path.join(OUT, "results.md"))
    print(page)
    if not shutil.which("gnuplot"):
        print("bench: report: no PNG files: gnuplot is not installed")
        return 0
    drawn = [p[0] for p in pictures if draw_png(p)]
    print(f"{OUT}: " + " ".join(f"{name}.png" for name in drawn))
    return 0 if len(drawn) == len(pictures) else 1
