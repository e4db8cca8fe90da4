"""The report as Markdown and as a picture."""

from html import escape

BAR, GAP, LEFT, WIDTH = 18, 6, 190, 420
OURS, THEIRS, INK, FAINT = "#0b6e75", "#b8c4c9", "#26323a", "#6b7a83"


def markdown(report: dict) -> str:
    """The tables, with everything that is needed to read them."""
    settings = report["settings"]
    out = [
        "# Measurements",
        "",
        "Written by `cargo xtask bench`. Servers have one worker each, run on the same machine as the load generator and",
        "are measured in turn; medians are shown, with the lowest and highest in brackets. Only ratios within one table mean",
        "something on another machine.",
        "",
        f"{settings['runs']} runs of {settings['seconds']} s, {settings['connections']} keep-alive connections, "
        f"{settings['front_threads']} front thread(s).",
        "",
        "![Requests a second](results.svg)",
    ]
    for row in report["rows"]:
        out += ["", f"## {row['title']}", ""]
        out += ["| server | requests/s | p50 | p99 | CPU a request | memory (PSS) | Bireme is |", "|---|---:|---:|---:|---:|---:|---|"]
        for result in row["results"]:
            out.append(
                f"| {result['server']} | {result['rate']:,.0f} ({result['rate_low']:,.0f}–{result['rate_high']:,.0f}) "
                f"| {milliseconds(result['p50_us'])} | {milliseconds(result['p99_us'])} | {result['cpu_us']:.1f} µs "
                f"| {result['memory_bytes'] / 2**20:.0f} MiB | {ratio(row, result['server'])} |"
            )
    lines = [line for part in report["special"] for line in part["lines"]]
    if lines:
        out += ["", "## Memory, latency, start, sockets", "", "| what | measured | goal | |", "|---|---:|---:|---|"]
        for line in lines:
            out.append(f"| {line['title']} | {line['value']:.{1 + least(line)}f} {line['unit']} | {goal(line)} | {line['detail']} |")
    if report.get("calls"):
        out += ["", "## Calls between JavaScript and Python", "", *calls_table(report["calls"])]
    out += ["", "## Machine and versions", ""]
    out += [f"- {key}: {value}" for key, value in (report["machine"] | report["versions"]).items()]
    return "\n".join(out) + "\n"


def calls_table(rows: list[dict]) -> list[str]:
    """One line a caller."""
    out = ["| what | caller | median | p99 | goal | Bireme is |", "|---|---|---:|---:|---|---|"]
    for row in rows:
        for at, result in enumerate(row["results"]):
            unit = "" if row["unit"] == "/s" else " "
            value = f"{result['value']:,.{1 if row['unit'] == 'µs' else 0}f}{unit}{row['unit']}"
            tail = "" if result["p99"] is None else f"{result['p99']:,.0f} µs"
            goal = ""
            if at == 0 and row["most"] is not None:
                goal = f"≤ {row['most']:,} µs {'✓' if result['value'] <= row['most'] else '✗'}"
            elif at == 0 and row["least"] is not None:
                goal = f"≥ {row['least']:,}/s {'✓' if result['value'] >= row['least'] else '✗'}"
            title = row["title"] if at == 0 else ""
            out.append(f"| {title} | {result['caller']} | {value} | {tail} | {goal} | {ratio(row, result['caller'])} |")
    return out


def least(line: dict) -> bool:
    """Whether more is better."""
    return line.get("least", False)


def goal(line: dict) -> str:
    """`≤ 6 KiB ✓`"""
    if line["goal"] is None:
        return ""
    met = line["value"] >= line["goal"] if least(line) else line["value"] <= line["goal"]
    return f"{'≥' if least(line) else '≤'} {line['goal']} {line['unit']} {'✓' if met else '✗'}"


def ratio(row: dict, server: str) -> str:
    """`2.61× (goal 2.5×) ✓`"""
    if server not in row["ratios"]:
        return ""
    value, goal = row["ratios"][server], row["goals"].get(server)
    if goal is None:
        return f"{value:.2f}×"
    return f"{value:.2f}× (goal {goal}×) {'✓' if value >= goal else '✗'}"


def milliseconds(microseconds: float) -> str:
    return f"{microseconds / 1000:.2f} ms"


def svg(report: dict) -> str:
    """Requests a second as bars, each row scaled to its own fastest server."""
    parts, y = [], 28
    for row in report["rows"]:
        parts.append(text(0, y, row["title"], 14, INK, "600"))
        y += 12
        top = max(result["rate"] for result in row["results"])
        for result in row["results"]:
            width = max(2.0, result["rate"] / top * WIDTH)
            ours = result["server"].startswith("bireme")
            label = f"{result['rate']:,.0f}/s"
            parts.append(text(0, y + 14, result["server"], 12, FAINT))
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="3" fill="{OURS if ours else THEIRS}"/>')
            parts.append(text(LEFT + width + 8, y + 14, label, 12, INK))
            y += BAR + GAP
        y += 22
    total = LEFT + WIDTH + 110
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{y}" viewBox="-12 0 {total} {y}" '
        f'font-family="system-ui, sans-serif" role="img" aria-label="Requests a second by server">\n'
        f'<rect x="-12" width="{total}" height="{y}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def text(x: float, y: float, content: str, size: int, colour: str, weight: str = "400") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{colour}">{escape(content)}</text>'
