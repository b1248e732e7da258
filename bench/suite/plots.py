"""Horizontal bars as SVG: the median, a line over the range, the figure behind it."""
from xml.sax.saxutils import escape

OURS, THEIRS, INK, GRID = "#2b6cb0", "#a0aec0", "#1a202c", "#e2e8f0"
LEFT, WIDTH, RIGHT, ROW, TOP, BOTTOM = 220, 420, 90, 30, 34, 26


def _step(longest):
    """A round distance between grid lines: about four of them."""
    size = 1e-9
    while True:
        for factor in (1, 2, 5):
            if longest / (size * factor) <= 4.5:
                return size * factor
        size *= 10


def _number(value):
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def bars(title, unit, rows):
    """rows: [(name, {median, min, max}, whether it is ours)]"""
    longest = max(figures["max"] for _, figures, _ in rows) or 1.0
    height = TOP + ROW * len(rows) + BOTTOM
    scale = WIDTH / longest
    parts = [f'<text x="12" y="20" font-weight="bold" fill="{INK}">{escape(title)}</text>']
    step, foot = _step(longest), TOP + ROW * len(rows)
    for i in range(int(longest / step) + 1):
        x = LEFT + i * step * scale
        parts.append(f'<path d="M{x:.1f} {TOP - 4}V{foot}" stroke="{GRID}"/>'
                     f'<text x="{x:.1f}" y="{foot + 15}" text-anchor="middle" font-size="11" fill="{INK}">'
                     f'{i * step:g}{" " + escape(unit) if i == 0 else ""}</text>')
    for i, (name, figures, ours) in enumerate(rows):
        y, (middle, low, high) = TOP + i * ROW, (figures[k] * scale for k in ("median", "min", "max"))
        parts.append(f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end" fill="{INK}">{escape(name)}</text>'
                     f'<rect x="{LEFT}" y="{y + 2}" width="{middle:.1f}" height="20" fill="{OURS if ours else THEIRS}"/>'
                     f'<path d="M{LEFT + low:.1f} {y + 12}H{LEFT + high:.1f}" stroke="{INK}" stroke-width="1.5"/>'
                     f'<text x="{LEFT + high + 6:.1f}" y="{y + 16}" fill="{INK}">{_number(figures["median"])}</text>')
    width = LEFT + WIDTH + RIGHT
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
            f'font-size="13"><rect width="{width}" height="{height}" fill="white"/>{"".join(parts)}</svg>\n')
