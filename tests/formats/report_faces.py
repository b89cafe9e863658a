"""report_faces.py FACES SOURCE: reports as HTML, Markdown, text and JUnit, read by parsers that are not ours.

Names and texts in the reports are hostile. HTML: tags nest, attributes are from a short list, nothing runs and nothing is
fetched, every drawing has a title and a description. JUnit: well formed, with the attributes that Jenkins and GitLab
read, and the counts right. SOURCE/formats/report_html_style.c: colours have the contrast that WCAG 2.1 asks for.
"""
import copy
import html.parser
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

FACES, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])

NAMES = [
    "<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "a" * 10000, "\u202eevil\u2066", "\u00e9" * 5000,
    "x\u001b[2J\u0007\u0085\u2028", "|`*_[a](http://x)#", "\U0001f600" * 50, "\ufffe\uffff", "&amp;&#60;", "]]>", "",
    "\r\n\t</style><style>", "--><!--",
]

PLAIN = {
    "mcompress": "0.1.0", "command": "svd", "arguments": ["svd", "in.onnx"], "seed": 1, "seconds": 2.5, "threads": 1,
    "input": {"path": "in.onnx", "bytes": 4000000, "parameters": 1000000, "macs": 999600, "sha256": "aa"},
    "output": {"path": "out.onnx", "bytes": 1000000, "parameters": 250000, "macs": 249000, "sha256": "bb"},
    "before": {"top1": 0.9, "top5": None, "loss": 0.25, "samples": 12345},
    "after": {"top1": 0.895, "top5": None, "loss": 0.5, "samples": 12345},
    "drop": {"top1": 0.005, "ci95": [0.001, 0.009], "of": "labels"},
    "agreement": {"top1": 0.97, "cosine": 0.5, "sqnr_db": 20.0, "max_abs": 1.5},
    "latency": {"batch": 1, "threads": 1, "pairs": 101, "runs": 101, "inputs": "data",
                "before": {"median_seconds": 4e-3, "low": 3e-3, "high": 5e-3},
                "after": {"median_seconds": 2e-3, "low": 1e-3, "high": 3e-3},
                "speedup": {"median": 2, "low": 1.9, "high": 2.1}},
    "gates": [], "warnings": [], "notes": [], "passes": [{"name": "svd", "options": {"keep": 0.25}, "seconds": 1}],
    "data": "d.npz", "device": "cpu", "kernels": "avx2",
}


def layer(name, i, reason=None):
    return {"name": name, "op": name, "action": name, "form": name, "choice": name, "reason": reason,
            "bytes_before": 1000 * (i + 1), "bytes_after": 500 * (i + 1), "error": 10 ** -(i % 7),
            "macs_before": 10, "macs_after": 5}


def hostile():
    r = copy.deepcopy(PLAIN)
    r["input"]["path"], r["output"]["path"] = NAMES[0], NAMES[2] + ".onnx"
    options = [{"option": "x", "bytes": 0, "error": 0}, {"option": "y", "bytes": -100, "error": 0.1, "macs": -3},
               {"option": "z", "bytes": -200, "predicted": 0.2}]
    for key in ("command", "data", "calib", "train", "preprocess", "device", "kernels", "mcompress"):
        r[key] = NAMES[len(key) % len(NAMES)]
    r["calib_samples"] = 3
    r["arguments"] = r["warnings"] = r["notes"] = NAMES
    r["gates"] = [{"name": n, "passed": i % 2 == 0, "message": n} for i, n in enumerate(NAMES)]
    r["passes"] = [
        {"name": n, "options": {m: m for m in NAMES}, "bytes_after": 1000,
         "layers": [layer(m, i, m if i % 3 == 0 else None) for i, m in enumerate(NAMES)],
         "search": {"goal": n, "metric": n, "ended": n, "divergence": 1, "limit": 3, "samples": 4,
                    "layers": [{"name": m, "choice": "y", "options": options} for m in NAMES]},
         "training": {"loss": n, "loss_why": n, "teacher": n, "optimizer": n, "samples": 1, "updates": 2, "train": n,
                      "frozen": [{"name": m, "why": m} for m in NAMES],
                      "curve": [{"step": 1, "loss": 1, "lr": 1}, {"step": 2, "loss": 2, "lr": 0}]}}
        for n in NAMES]
    return r


def many_layers():
    r = copy.deepcopy(PLAIN)
    r["passes"][0]["layers"] = [layer(f"/encoder/layer.{i}/attention/query/MatMul", i, "small" if i % 4 == 0 else None)
                                for i in range(300)]
    r["input"]["bytes"], r["output"]["bytes"] = 46000000, 31000000
    return r


def cases():
    yield "plain", PLAIN
    yield "hostile", hostile()
    yield "many", many_layers()
    bare = copy.deepcopy(PLAIN)
    for key in ("before", "after", "drop", "agreement", "latency", "data"):
        del bare[key]
    yield "unmeasured", bare
    yield "dry", {**bare, "dry_run": True}
    missed = copy.deepcopy(PLAIN)
    missed["gates"] = [{"name": "max-drop", "limit": 0.004, "value": 0.005, "passed": False, "message": "missed: 0.5"}]
    yield "missed", missed
    empty = copy.deepcopy(PLAIN)
    for key in ("drop", "before", "after", "agreement", "latency", "input", "output"):
        empty[key] = {k: None for k in empty[key]}
    yield "null", empty
    yield "none", {}
    yield "sets", {"command": "eval", "sets": [{"set": NAMES[0], "outputs": [
        {"name": "y", "verdict": "agrees", "outside": 0, "elements": 4, "max_abs": 0.0},
        {"name": "z", "verdict": "differs", "outside": 1, "elements": 4, "max_abs": 0.5}, {"name": "w"}]}]}


class Page(html.parser.HTMLParser):
    VOID = {"meta", "br"}
    TAGS = set("html head meta title style body main p h1 h2 h3 b i span ul li div table tr th td pre figure figcaption "
               "svg desc text line rect circle polyline details summary br".split())
    ATTRIBUTES = set("lang charset name content class width height role x y x1 y1 x2 y2 cx cy r text-anchor "
                     "points viewbox preserveaspectratio".split())

    def __init__(self, text):
        super().__init__()
        self.open, self.counts, self.drawings = [], {}, []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        assert tag in self.TAGS, tag
        self.counts[tag] = self.counts.get(tag, 0) + 1
        for name, value in attributes:
            assert name in self.ATTRIBUTES, (tag, name)
            if name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height") and tag != "meta":
                assert re.fullmatch(r"-?[0-9]+(\.[0-9]+)?%?", value), (tag, name, value)
        if tag == "svg" and ("role", "img") in attributes:
            self.drawings.append([])
        elif self.drawings and len(self.drawings[-1]) < 2:
            self.drawings[-1].append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_comment(self, data):
        raise AssertionError("a comment: " + data)


def check_html(name, text):
    page = Page(text)
    style = text.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style
    assert all(d == ["title", "desc"] for d in page.drawings), page.drawings
    forbidden = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
    assert not forbidden.search(text), name
    assert text.count("<h1>") == 1 and "<title>" in text
    assert len(text) < 1500000, (name, len(text))
    if name == "many":
        assert page.counts["svg"] >= 3 and "276 others" in text
        assert len(page.drawings) == 4, page.drawings
    if name in ("unmeasured", "dry"):
        assert "not measured" in text or "nothing was written" in text
    for word in ("nan", "inf"):
        assert not re.search(r"[>\s]-?" + word + r"[<%\s]", text), (name, word)


def check_junit(name, path):
    suites = ElementTree.parse(path).getroot()
    allowed = {"testsuites": {"name", "tests", "failures", "errors", "skipped", "time"},
               "testsuite": {"name", "tests", "failures", "errors", "skipped", "time"}, "properties": set(),
               "property": {"name", "value"}, "testcase": {"name", "classname", "time"},
               "failure": {"message", "type"}, "error": {"message", "type"}, "skipped": {"message"},
               "system-out": set()}
    for e in suites.iter():
        assert set(e.attrib) <= allowed[e.tag], (e.tag, e.attrib)
    (suite,) = list(suites)
    order = [e.tag for e in suite]
    assert suites.tag == "testsuites" and order == sorted(order), order  # properties, then cases
    found = suite.findall("testcase")
    for root in (suites, suite):
        assert int(root.get("tests")) == len(found) > 0
        for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(root.get(key)) == len(suite.findall(f"testcase/{tag}")), (name, key)
    for c in found:
        assert c.get("name") is not None and c.get("classname") is not None
        assert [e.tag for e in c] in ([], ["system-out"], ["failure"], ["failure", "system-out"], ["skipped"],
                                      ["skipped", "system-out"]), [e.tag for e in c]
    counts = [int(suite.get(k)) for k in ("tests", "failures", "skipped")]
    want = {"plain": [1, 0, 0], "missed": [2, 1, 0], "unmeasured": [1, 0, 1], "sets": [3, 1, 1],
            "hostile": [1 + len(NAMES), len(NAMES) // 2, 0]}.get(name)
    assert want is None or counts == want, (name, counts)
    if name == "plain":
        properties = {p.get("name"): p.get("value") for p in suite.iter("property")}
        assert float(properties["before.bytes"]) == 4e6 and float(properties["after.latency_seconds"]) == 2e-3
        assert float(properties["after.top1"]) == 0.895 and properties["after.sha256"] == "bb"


def luminance(colour):
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def check_colours():
    source = (SOURCE / "formats/report_html_style.c").read_text()
    for theme in ("LIGHT", "DARK"):
        text = source.split(f"#define {theme}")[1].split("\n\n")[0].split("#define")[0]
        v = dict(re.findall(r"--([a-z]+):(#[0-9a-f]{6})", text))
        assert len(v) == 14, v
        for fore, ground, least in [
            ("fg", "bg", 7), ("fg", "card", 7), ("soft", "bg", 4.5), ("soft", "card", 4.5), ("a", "bg", 4.5),
            ("b", "bg", 3), ("c", "bg", 3), ("ok", "okbg", 4.5), ("bad", "badbg", 4.5), ("warn", "warnbg", 4.5),
            ("bad", "bg", 4.5), ("fg", "line", 4.5), ("ok", "card", 3), ("bad", "card", 3), ("a", "b", 1.3),
        ]:
            ratio = contrast(v[fore], v[ground])
            assert ratio >= least, f"{theme}: {fore} on {ground} has a contrast of {ratio:.2f}, not {least}"


def main():
    check_colours()
    with tempfile.TemporaryDirectory() as folder:
        base = pathlib.Path(folder)
        for name, report in cases():
            source = base / (name + ".json")
            source.write_text(json.dumps(report), encoding="utf-8")
            faces = [str(base / f"{name}.{e}") for e in ("html", "md", "txt", "xml")]
            subprocess.run([FACES, str(source), *faces], check=True)
            check_html(name, pathlib.Path(faces[0]).read_text(encoding="utf-8"))
            for path in faces[1:3]:
                text = pathlib.Path(path).read_text(encoding="utf-8")
                assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text), path
            check_junit(name, faces[3])


main()
