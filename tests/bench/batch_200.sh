#!/bin/sh
# batch_200.sh MCOMPRESS [JOBS]: `batch` over 200 models of which 20 are broken; once undisturbed, once killed in the
# middle (SIGKILL) and done again by the same command. Both must give the same files and the same report apart from times.
# Needs python3 with onnx and numpy: PYTHON names it. Prints what came of it; status 0 if all is well.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "$(dirname "$1")" && pwd)/$(basename "$1") jobs=${2:-2}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" "$here/batch_models.py" "$work/models"
cd "$work"

batch() { # in a subshell: $! is the program itself
    exec "$bin" batch svd:keep=0.5 models -o out --data '{dir}/{stem}.npz' -j "$jobs" --report all.json -q
}
# What may differ: seconds, memory, and how much an earlier run had done.
steady() {
    "${PYTHON:-python3}" - all.json <<'END'
import json, sys
r = json.load(open(sys.argv[1]))
del r["run"]
for row in r["models"]:
    for key in ("seconds", "peak_rss_bytes"):
        row.pop(key, None)
json.dump(r, sys.stdout, indent=1, sort_keys=True)
END
}
sums() {
    (cd out && find . -name .mcompress -prune -o -type f -print | LC_ALL=C sort | tr '\n' '\0' | xargs -0 sha256sum)
}
finished() {
    find out/.mcompress -name '*.json' ! -name '*.report.json' 2>/dev/null | wc -l
}

begin=$(date +%s.%N)
(batch) 2>errors && status=0 || status=$?
end=$(date +%s.%N)
cat errors
sums >first.sums
steady >first.json
"${PYTHON:-python3}" -c '
import json, sys
r = json.load(open("all.json"))
print("undisturbed: status", sys.argv[1], "%.1f s," % (float(sys.argv[3]) - float(sys.argv[2])), r["totals"])
for row in r["models"]:
    if row["status"] != "done":
        print(" ", row["path"] + ":", row["reason"])
' "$status" "$begin" "$end"
mv out out.first

batch 2>/dev/null &
job=$!
until [ "$(finished)" -ge 90 ] || ! kill -0 $job; do sleep 0.02; done
kill -KILL $job
wait $job 2>/dev/null && killed=0 || killed=$?
echo "killed with $(finished) models finished (status $killed)"
begin=$(date +%s.%N)
(batch) 2>/dev/null && again=0 || again=$?
end=$(date +%s.%N)
"${PYTHON:-python3}" -c '
import json, sys
r = json.load(open("all.json"))
print("resumed: status", sys.argv[1], "%.1f s," % (float(sys.argv[3]) - float(sys.argv[2])), r["run"]["done_before"], "were done,", r["totals"])
' "$again" "$begin" "$end"
sums >second.sums
steady >second.json
cmp first.sums second.sums
cmp first.json second.json
[ "$status" = 1 ] && [ "$again" = 1 ] && [ "$killed" = 137 ]
[ "$(wc -l <first.sums)" = 180 ]
begin=$(date +%s.%N)
(batch) 2>/dev/null || :
end=$(date +%s.%N)
echo "$begin $end" | awk '{ printf "a third time, nothing to do but the broken ones: %.1f s\n", $2 - $1 }'
sums | cmp first.sums -
echo "same $(wc -l <first.sums) files, same report"
