"""compare_csv.py DUMP: tables of text as samples (dump_samples), against what Python's csv wrote."""
import csv
import gzip
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

DUMP = sys.argv[1]
FLOAT, INT64, UINT8 = ("1", "<f4"), ("7", "<i8"), ("2", "u1")
work = Path(tempfile.mkdtemp())
checks = 0


def text_of(rows, header=None, delimiter=",", quoting=csv.QUOTE_MINIMAL, end="\n"):
    f = io.StringIO()
    w = csv.writer(f, delimiter=delimiter, quoting=quoting, lineterminator=end)
    w.writerows(([header] if header else []) + rows)
    return f.getvalue()


def run(spec, inputs):
    words = [DUMP, str(spec)]
    for name, (code, _), dims in inputs:
        words += [name, code, ",".join(map(str, dims))]
    return subprocess.run(words, capture_output=True, check=False)


def put(text, name="t.csv"):
    data = text if isinstance(text, bytes) else text.encode()
    (work / name).write_bytes(data)
    return work / name


def gives(spec, inputs, arrays, labels=None):
    global checks
    checks += 1
    done = run(spec, inputs)
    assert done.returncode == 0, (spec, done.stderr.decode())
    _, _, rest = done.stdout.partition(b"\n")
    for (name, (_, kind), _), want in zip(inputs, arrays):
        line, _, rest = rest.partition(b"\n")
        assert line.split()[0].decode() == name
        shape = [int(d) for d in line.split()[1:]]
        want = np.asarray(want).astype(kind)
        assert list(want.shape) == shape, (spec, want.shape, shape)
        assert rest[:want.nbytes] == want.tobytes(), (spec, name)
        rest = rest[want.nbytes:]
    got = np.frombuffer(rest, "<i8").tolist()
    assert got == (labels or []), (spec, got, labels)


def refused(text, inputs, words, option=""):
    global checks
    checks += 1
    done = run(f"{put(text, 'bad.csv')}{option}", inputs)
    message = done.stderr.decode()
    assert done.returncode == 1 and message.count("\n") == 1 and words in message, (words, message)


rng = np.random.default_rng(3)
x = rng.standard_normal((150, 12)).astype("f4") * 10.0 ** rng.integers(-9, 9, (150, 12))
x = x.astype("f4")
labels = rng.integers(0, 9, 150).tolist()
rows = [[repr(float(v)) for v in row] for row in x]
labelled = [row + [str(label)] for row, label in zip(rows, labels)]
header = [f"column {i}" for i in range(12)]
image = [("x", FLOAT, (-1, 3, 2, 2))]
flat = [("x", FLOAT, (-1, 12))]

gives(put(text_of(rows)), flat, [x])
gives(put(text_of(rows, header)), image, [x.reshape(-1, 3, 2, 2)])
gives(put(text_of(labelled, header + ["label"])), [("x", FLOAT, (-1, -1, 4))], [x.reshape(-1, 3, 4)], labels)
for form in ({"delimiter": "\t"}, {"delimiter": ";"}, {"quoting": csv.QUOTE_ALL}, {"end": "\r\n"}):
    gives(put(text_of(labelled, header + ["labels"], **form), "t.tsv"), flat, [x], labels)
gives(f"{put(text_of(labelled))}:last", flat, [x], labels)
gives(f"{put(text_of([row[-1:] + row[:-1] for row in labelled]))}:first", flat, [x], labels)
gives(f"{put(text_of(labelled, header + ['kind']))}:kind", flat, [x], labels)
gives(put(gzip.compress(text_of(rows, header).encode()), "t.csv.gz"), flat, [x])
gives(put(b"\xef\xbb\xbf" + text_of(rows).encode()), flat, [x])
gives(put(text_of(rows).rstrip("\n") + "\n\n\n"), flat, [x])
gives(put(' 1 , "2"," 3" ,4\n'), [("x", INT64, (-1, 4))], [[[1, 2, 3, 4]]])
gives(put('"a ""quoted""\nname",b\n1,2\n'), [("x", UINT8, (-1, 2))], [[[1, 2]]])
gives(put("b,a_1,other,a_0\n1,2,nobody's,3\n4,5,,6\n"),
      [("a", FLOAT, (-1, 2)), ("b", INT64, (-1,))], [[[2, 3], [5, 6]], [1, 4]])
gives(put("9223372036854775807\n-1\n"), [("x", INT64, (-1, 1))], [[[2**63 - 1], [-1]]])

refused("1,2\n3\n", [("x", FLOAT, (-1, 2))], "line 2 has 1 columns")
refused("1,2\n3,four\n", [("x", FLOAT, (-1, 2))], "line 2, column 2: 'four' is no number")
refused("1,2\n3,\n", [("x", FLOAT, (-1, 2))], "line 2, column 2: '' is no number")
refused("1,2\n3,nan\n", [("x", FLOAT, (-1, 2))], "is not a number")
refused("1,2\n3,256\n", [("x", UINT8, (-1, 2))], "'256' does not fit type uint8")
refused("1,2\n3,1.5\n", [("x", INT64, (-1, 2))], "'1.5' does not fit type int64")
refused("1,2,3\n", [("x", FLOAT, (-1, 2))], "has 3 columns for input 'x'")
refused("a,b\n", [("x", FLOAT, (-1, 2))], "no rows below its header")
refused("\n\n", [("x", FLOAT, (-1, 2))], "holds no rows")
refused('1,"2\n', [("x", FLOAT, (-1, 2))], "line 1, column 2: a quote is not closed")
refused('1,"2"3\n', [("x", FLOAT, (-1, 2))], "text behind a closing quote")
refused("1,2\n", [("x", FLOAT, (-1, 1)), ("y", FLOAT, (-1, 1))], "needs a header")
refused("a,label\n1,-2\n", [("x", FLOAT, (-1, 1))], "is no class number")
refused("a,label\n1,2\n", [("x", FLOAT, (-1, 1))], "no column 'kind'", ":kind")
refused(b"1,2\n3,\x004\n" + b"5,6\n" * 400, [("x", FLOAT, (-1, 2))], "does not start like a .csv file")
refused(b"1,2\n" * 300 + b"3,\x004\n", [("x", FLOAT, (-1, 2))], "line 301, column 2: a zero byte")
for path in work.iterdir():
    path.unlink()
work.rmdir()
print(f"{checks} checks")
