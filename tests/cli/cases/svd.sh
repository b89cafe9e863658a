# From a file to a smaller file; every figure of the report is about that file.
M=$MODELS/fashion-mlp.onnx
mcompress svd "$M" -o out.onnx --keep 0.25 --calib fashion-mnist:train --data fashion-mnist:test --samples 2000 \
    --report r.json --report r.txt >text
echo "$?"
cmp text r.txt
bytes=$(wc -c <out.onnx)
sha=$(sha256sum out.onnx | cut -d' ' -f1)
grep -q "\"bytes\": $bytes," r.json || echo "output.bytes is not $bytes"
grep -q "\"sha256\": \"$sha\"" r.json || echo "output.sha256 is not $sha"
[ "$bytes" -le 932606 ] || echo "more than a quarter: $bytes"
[ "$bytes" -ge 800000 ] || echo "far less than a quarter: $bytes"
grep -q "\"sha256\": \"$(sha256sum "$M" | cut -d' ' -f1)\"" r.json || echo 'input.sha256 differs'
for k in input output before after drop agreement passes seconds peak_rss_bytes device seed data; do
    grep -q "^  \"$k\"" r.json || echo "no $k"
done
for k in name op action bytes_before bytes_after error; do
    grep -q "^          \"$k\"" r.json || echo "no layers.$k"
done
# What it says of the accuracy is what eval finds.
mcompress eval out.onnx "$M" --data fashion-mnist:test --samples 2000 --json >e.json
figures() {
    sed -n "/^  \"$1\": {/,/^  }/p" "$2" | sed '1d'
}
figures after r.json >a
figures metrics e.json | cmp - a
figures agreement r.json >a
figures agreement e.json | cmp - a
# The same bytes for any number of threads and again.
for t in 1 2 3; do
    mcompress svd "$M" -o t$t.onnx --keep 0.25 --calib fashion-mnist:train --threads $t -q
    cmp t$t.onnx out.onnx
done
# A dry run writes nothing and comes near.
mcompress svd "$M" -o dry.onnx --keep 0.25 --calib fashion-mnist:train --dry-run --json >d.json
[ ! -e dry.onnx ] || echo 'dry.onnx is there'
grep -c '"predicted": true' d.json
near=$(sed -n '/"output"/,/}/s/.*"bytes": \([0-9]*\).*/\1/p' d.json)
[ $((near - bytes)) -lt 20000 ] && [ $((bytes - near)) -lt 20000 ] || echo "predicted $near, got $bytes"
# Everything kept: no output changes by more than rounding.
mcompress svd "$M" -o full.onnx --keep 1 -q && mcompress eval full.onnx "$M" --data fashion-mnist:test --samples 200 \
    --require 'agreement>=1' --min-sqnr 80 -q
echo "$?"
mcompress svd "$M" -o nodata.onnx --keep 0.5 | grep 'not measured'
