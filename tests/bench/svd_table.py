"""Bytes against accuracy of `mcompress svd` on the reference models: plain, whitened and as it is by default.

    python3 tests/bench/svd_table.py build/mcompress models/fashion-*.onnx --results svd.jsonl --svg tests/bench/svd_ratios.svg

Every run adds a line to the results, and those that stand there already are not made again. Prints the table in Markdown."""
import argparse
import json
import os
import subprocess
import tempfile
import time

RATIOS = [0.5, 0.25, 0.12, 0.35, 0.7, 0.18, 0.09, 0.06]  # in the order in which they are run
MODES = {
    "plain": ["--norm", "weights"],
    "whitened": ["--norm", "inputs", "--no-refit", "--calib", "fashion-mnist:train"],
    "auto": ["--calib", "fashion-mnist:train"],
}


def name_of(path):
    return os.path.basename(path).replace("fashion-", "").replace(".onnx", "")


def run(binary, path, ratio, mode):
    with tempfile.TemporaryDirectory() as folder:
        words = [binary, "svd", path, "-o", os.path.join(folder, "out.onnx"), "--keep", str(ratio), *MODES[mode],
                 "--data", "fashion-mnist:test", "--json", "--no-latency", "--no-history"]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    row = {"model": name_of(path), "ratio": ratio, "mode": mode, "status": done.returncode}
    if done.stdout:
        report = json.loads(done.stdout)
        after = report.get("after")
        row.update(before_bytes=report["input"]["bytes"], before=report["before"]["top1"])
        if after:
            row.update(bytes=report["output"]["bytes"], top1=after["top1"], seconds=report["seconds"])
    return row


def measure(args):
    rows = {}
    if os.path.exists(args.results):
        with open(args.results) as file:
            for line in file:
                row = json.loads(line)
                rows[row["model"], row["ratio"], row["mode"]] = row
    for ratio in RATIOS:
        for path in args.models:
            for mode in MODES:
                key = name_of(path), ratio, mode
                if key in rows or time.time() > args.until:
                    continue
                rows[key] = run(args.binary, path, ratio, mode)
                with open(args.results, "a") as file:
                    file.write(json.dumps(rows[key]) + "\n")
    return rows


def cell(row):
    if not row or "top1" not in row:
        return ""
    missed = " *" if row["status"] == 4 else ""
    return f"{100 * row['top1']:.2f}{missed}"


def table(rows, models):
    ratios = [r for r in sorted(RATIOS, reverse=True) if any(k[1] == r for k in rows)]
    print("| model | | " + " | ".join(str(r) for r in ratios) + " |")
    print("|---|---|" + "---|" * len(ratios))
    for model in models:
        for mode in MODES:
            cells = [cell(rows.get((model, r, mode))) for r in ratios]
            print(f"| {model if mode == 'plain' else ''} | {mode} | " + " | ".join(cells) + " |")


WIDE, HIGH, LEFT, TOP, PLOT_W, PLOT_H = 900, 540, 46, 76, 232, 180
MOST = 0.75  # of the bytes
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #333 } .title { font-weight: 600; font-size: 13px }
.grid { stroke: #8884; stroke-width: 1 } .base { stroke: #888; stroke-dasharray: 3 3 }
.plain { stroke: #b5651d } .whitened { stroke: #2a7f62 } .auto { stroke: #3465a4 }
polyline { fill: none; stroke-width: 2 } circle { fill: #fff; stroke-width: 2 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } circle { fill: #111 }
.plain { stroke: #e8a15c } .whitened { stroke: #5fc79f } .auto { stroke: #7fb0ee } }
"""


def panel(out, rows, model, x, y):
    mine = [r for r in rows.values() if r["model"] == model and "top1" in r]
    out.append(f'<text class="title" x="{x}" y="{y - 10}">{model}</text>')
    if not mine:
        return
    base = 100 * mine[0]["before"]
    low = base - 20

    def at(share, top1):
        return x + PLOT_W * share / MOST, y + PLOT_H * (base + 1 - max(top1, low)) / (base + 1 - low)

    for percent in range(int(low) + 1, int(base) + 1):
        if percent % 5 == 0:
            _, h = at(0, percent)
            out.append(f'<line class="grid" x1="{x}" y1="{h:.1f}" x2="{x + PLOT_W}" y2="{h:.1f}"/>')
            out.append(f'<text x="{x - 6}" y="{h + 4:.1f}" text-anchor="end">{percent}</text>')
    for share in (0, 0.25, 0.5, 0.75):
        out.append(f'<text x="{x + PLOT_W * share / MOST:.1f}" y="{y + PLOT_H + 16}" text-anchor="middle">{share:g}</text>')
    _, h = at(0, base)
    out.append(f'<line class="base" x1="{x}" y1="{h:.1f}" x2="{x + PLOT_W}" y2="{h:.1f}"/>')
    for mode in MODES:
        points = sorted(((r["bytes"] / r["before_bytes"], 100 * r["top1"]) for r in mine if r["mode"] == mode),
                        reverse=True)
        below = [i for i, (_, top1) in enumerate(points) if top1 < low]
        points = points[:below[0] + 1] if below else points
        spots = [at(*p) for p in points]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in spots)
        out.append(f'<polyline class="{mode}" points="{line}"/>')
        for (a, b), (_, top1) in zip(spots, points):
            if top1 > low:
                out.append(f'<circle class="{mode}" cx="{a:.1f}" cy="{b:.1f}" r="3"/>')


def chart(rows, models, path):
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" width="{WIDE}" height="{HIGH}">',
           f"<style>{STYLE}</style>",
           f'<text x="{LEFT}" y="18">top-1 on 10,000 test images, %, over the share of the bytes that is left; '
           "lines end at 20 points below the original</text>"]
    for i, mode in enumerate(MODES):
        x = LEFT + 100 * i
        out.append(f'<polyline class="{mode}" points="{x},38 {x + 18},38"/><text x="{x + 24}" y="42">{mode}</text>')
    for i, model in enumerate(models):
        panel(out, rows, model, LEFT + i % 3 * (PLOT_W + 60), TOP + i // 3 * (PLOT_H + 70))
    out.append("</svg>")
    with open(path, "w") as file:
        file.write("\n".join(out) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--results", required=True)
    parser.add_argument("--svg")
    parser.add_argument("--until", type=float, default=float("inf"), help="begin no run after this time (seconds)")
    args = parser.parse_args()
    rows = measure(args)
    models = [name_of(p) for p in args.models]
    table(rows, models)
    if args.svg:
        chart(rows, models, args.svg)


if __name__ == "__main__":
    main()
