"""What a benchmark found: printed as a table, kept as JSON, drawn into docs/BENCHMARKS.md."""
import dataclasses
import datetime
import json
import os
import pathlib
import statistics
import subprocess

from suite import peers, plots, servers

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS, DOCS = ROOT / "bench/results", ROOT / "docs"
TIMED = [("wall", "wall s"), ("cpu", "CPU s of the mover"), ("all", "CPU s of all, with the servers"),
         ("memory", "peak MB of the mover")]
INTRODUCTION = """\
# Benchmarks

Drawn by `./dev bench` from `bench/results/*.json`; `./dev bench NAME` repeats one, `--quick` gives a minute's look.

How they are made, so that the comparison is fair:

- Throwaway PostgreSQL servers, both ends on loopback, set alike, the same for every contestant, with warm caches. `fsync` is off:
  the disk is not what is compared, and that favours those who commit often.
- Everybody moves the same data, in the same run, taking turns and beginning with another one each round, after a
  round that does not count. Figures are medians with the range. A ratio is the median of the ratios of the rounds.
- Who follows a slot reads a copy of one that was made before the changes, so all decode the same WAL. It has ended when the
  last row of the work is there, which is asked for at the target; a program's own word counts only where there is no target.
- Every target is compared with the source by value, every time. A wrong result is no result.
- The mover is the program, with all its processes; for a peer inside the server it is its workers (CPU from /proc, memory
  without what the server shares). The CPU seconds of all, both servers included, are beside it: work that was only
  handed to a server shows there.
- **Only ratios carry over to another machine**, and times of different benchmarks here are of different moments.
"""


@dataclasses.dataclass
class Bar:
    what: str
    value: float
    limit: float
    unit: str = "×"
    at_least: bool = False

    @property
    def met(self):
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclasses.dataclass
class Result:
    title: str
    samples: dict  # who: [{key: number}], a sample a round
    ours: list     # who of them is Weir
    bars: list
    checked: str   # how the result was found to be right
    columns: list = dataclasses.field(default_factory=lambda: TIMED)
    plot: tuple = ("wall", "s")
    notes: list = dataclasses.field(default_factory=list)
    missing: list = dataclasses.field(default_factory=list)


def _output(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return (done.stdout or done.stderr).strip().split("\n")[0]


def machine():
    facts = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.partition(":")[2].strip() for line in facts.splitlines() if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cores": os.cpu_count(), "memory_gb": round(memory / 2**30, 1), "processor": model,
            "load_before": round(os.getloadavg()[0], 2)}


def versions():
    package = _output(["dpkg-query", "-W", "-f", "${Version}", f"postgresql-{servers.major()}-pglogical"])
    found = {"weir": _output([peers.WEIR, "--version"]),
             "postgresql": _output([servers.binaries() / "postgres", "--version"]),
             "pgcopydb": _output(["pgcopydb", "--version"]).removeprefix("pgcopydb version "),
             "pglogical": package if package[:1].isdigit() else ""}
    return {name: version for name, version in found.items() if version}


def _spread(samples, key):
    values = [sample[key] for sample in samples]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summary(name, result, facts, about):
    """What is kept. @facts: machine(), of before the benchmark; @about: what it does, a paragraph."""
    return {
        "title": result.title, "about": about, "command": f"./dev bench {name}", "rounds": max(map(len, result.samples.values())),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": versions(), "machine": facts, "checked": result.checked, "notes": result.notes,
        "missing": result.missing, "columns": result.columns, "plot": result.plot, "ours": result.ours,
        "figures": {who: {key: _spread(samples, key) for key, _ in result.columns if key in samples[0]}
                    for who, samples in result.samples.items()},
        "bars": [{"what": bar.what, "value": bar.value, "bar": bar.limit, "unit": bar.unit,
                  "at_least": bar.at_least, "met": bar.met} for bar in result.bars],
    }


def _number(value):
    return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"


def _cell(figures):
    if figures is None:
        return ""
    if figures["min"] == figures["max"]:
        return _number(figures["median"])
    return f"{_number(figures['median'])} ({_number(figures['min'])} – {_number(figures['max'])})"


def _tables(kept):
    """Of figures and of bars: lists of rows of text, the first is the head."""
    shown = [(key, label) for key, label in kept["columns"]
             if any(key in figures for figures in kept["figures"].values())]
    figures = [[""] + [label for _, label in shown]]
    for who, of in kept["figures"].items():
        figures.append([who] + [_cell(of.get(key)) for key, _ in shown])
    bars = [["bar", "wanted", "found", "verdict"]]
    for bar in kept["bars"]:
        sign, unit = ("≥" if bar["at_least"] else "≤"), bar["unit"]
        bars.append([bar["what"], f"{sign} {bar['bar']:g} {unit}", f"{_number(bar['value'])} {unit}",
                     "met" if bar["met"] else "NOT met"])
    return figures, bars


def _print_table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("  " + "   ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        if number == 0:
            print("  " + "   ".join("─" * width for width in widths))


def show(kept):
    print(f"\n  {kept['title']}\n")
    for rows in _tables(kept):
        _print_table(rows)
        print()
    for line in kept["notes"]:
        print(f"  {line}")
    for line in kept["missing"]:
        print(f"  missing: {line}")
    print(f"  {kept['checked']}\n", flush=True)


def _markdown_table(rows):
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in escaped]
    return [lines[0], "|" + "---|" * len(rows[0])] + lines[1:]


def _section(name, kept):
    figures, bars = _tables(kept)
    facts = kept["machine"]
    versions_of = ", ".join(v if name_of in v.lower() else f"{name_of} {v}" for name_of, v in kept["versions"].items())
    lines = [f"## {name}: {kept['title']}", "", kept["about"], "", f"![{name}](bench-{name}.svg)", ""]
    lines += _markdown_table(figures) + [""]
    lines += (_markdown_table(bars) + [""]) if len(bars) > 1 else []
    lines += kept["notes"] + [f"Not there: {line}." for line in kept["missing"]] + [kept["checked"], ""]
    lines += [f"`{kept['command']}`, {kept['date']}: {kept['rounds']} rounds; {facts['cores']} cores, "
              f"{facts['memory_gb']:g} GB, {facts['processor']}, load {facts['load_before']:g} before it began; "
              f"{versions_of}.", ""]
    return lines


def draw(name, kept):
    key, unit = kept["plot"]
    rows = [(who, figures[key], who in kept["ours"]) for who, figures in kept["figures"].items() if key in figures]
    label = dict(map(tuple, kept["columns"]))[key]
    return plots.bars(f"{name}: {label}", unit, rows)


def keep(name, kept, folder):
    """@folder: another place for everything, or None for the project's own."""
    results = folder or RESULTS
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def draw_page(order, folder):
    """The page and its plots, from what is kept; benchmarks in the order of @order."""
    results, docs = folder or RESULTS, folder or DOCS
    lines = [INTRODUCTION]
    for name in order:
        path = results / f"{name}.json"
        if not path.exists():
            continue
        kept = json.loads(path.read_text(encoding="utf-8"))
        (docs / f"bench-{name}.svg").write_text(draw(name, kept), encoding="utf-8")
        lines += _section(name, kept)
    (docs / "BENCHMARKS.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
