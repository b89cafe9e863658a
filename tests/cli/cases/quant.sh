# Every form and what it leaves: what layers became, how much of the bytes is left, and that the file is the one that is told of.
M=$MODELS/student.onnx
D='--calib fashion-mnist:train --calib-count 16'
told() { # forms of the layers, or the type of halves; bytes in percent
    tr -d '\n' <r.json | sed 's/  */ /g' >flat
    grep -o '"forms": {[^}]*}' flat || grep -o '"type": "[a-z0-9]*"' flat
    awk -v a="$(wc -c <"$1")" -v b="$(wc -c <"$M")" 'BEGIN { printf "%.0f %% of the bytes\n", 100 * a / b }'
    [ "$(sed -n '/"output"/,/}/s/.*"bytes": \([0-9]*\).*/\1/p' r.json)" = "$(wc -c <"$1")" ] || echo 'bytes differ'
}
q() {
    echo "quant $*"
    mcompress quant "$M" -o out.onnx "$@" -q --report r.json && told out.onnx
}
for f in weight weight4 dynamic fp16 bf16; do q --form $f; done
for f in static static16; do q --form $f $D; done
for b in w8 w4 w3; do q --bits $b; done
for b in w4a4 w8a16; do q --bits $b $D; done
for o in "" "--form auto" "--bits w8a8"; do # what is found is not for this test to say
    q $o $D | grep -v '"forms"' | sed "s/[0-9]* %/N %/"
done
q --form weight4 --bits w2 --block 16
q --form weight4 --block 64 --runtime ort
q --form weight --per-tensor
q --form weight --asymmetric-weights --weight-method minmax
q --form static $D --symmetric --quantise-outputs
q --form fp16 --computed
for r in ort cpu-vnni cpu-avx2 openvino; do q --form static $D --runtime $r; done
for m in minmax percentile entropy mse; do
    mcompress quant "$M" -o $m.onnx --search off $D --method $m -q
    cmp -s $m.onnx minmax.onnx || echo "$m is not minmax"
done
# Layers by name, and by the name of their weight.
q --form weight --only conv
q --form weight --skip '^fc$|^conv2.weight$'
grep -o '"reason": "[^"]*"' r.json | sort | uniq -c | sed 's/^ *//'
# Repairs that were asked for are in the report.
repairs() {
    q "$@"
    sed -n '/"repairs"/,/\]/p' r.json | grep -o '"name": "[^"]*"'
}
repairs --form static $D
repairs --form static $D --repair fold,equalise,smooth,round,bias
repairs --form weight4 $D
repairs --form weight4 $D --repair none
# No time at all: weights alone.
q --time 0 $D
# A dry run writes nothing and comes near.
mcompress quant "$M" -o dry.onnx --form weight --dry-run --json >d.json
mcompress quant "$M" -o out.onnx --form weight -q
sed -n '/"output"/,/}/s/.*"bytes": \([0-9]*\).*/\1/p' d.json |
    awk -v b="$(wc -c <out.onnx)" '{ d = $1 / b; print (d > 0.9 && d < 1.1 ? "near" : "far: " $1 " " b) }'
mcompress quant "$M" -o dry.onnx --form static $D --dry-run | sed -n '/^  integers/s/;.*//p;/^  layer/,/^$/p' | sed 's/  *$//'
ls dry.onnx 2>/dev/null
# What the model remembers, and that it is not quantised twice.
mcompress info out.onnx | sed -n '/history/p;/int8/p' | sed 's/  */ /g'
mcompress quant out.onnx -o twice.onnx --form weight --report twice.md -q
grep 'quantised already' twice.md
mcompress quant "$M" -o out.onnx --form static $D -q
try mcompress quant out.onnx -o twice.onnx $D
