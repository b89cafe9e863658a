# From a file to a file of an eighth: what the report says is about that file.
M=$MODELS/fashion-mlp.onnx
mcompress circulant "$M" -o out.onnx --block 8 --calib fashion-mnist:train --data fashion-mnist:test --samples 2000 \
    --report r.json --report r.txt --no-latency >text
echo "$?"
cmp text r.txt
bytes=$(wc -c <out.onnx)
grep -q "\"bytes\": $bytes," r.json || echo "output.bytes is not $bytes"
[ "$bytes" -le 495000 ] || echo "more than an eighth and what stays dense: $bytes"
grep -E '^  */[0-9]/Gemm|^ *1 x ' text | sed 's/ [0-9.]*$//'
grep -E '"(block|fitted|units_ordered|inputs_shuffled|function)"' r.json | sort | uniq -c | sed 's/^ *//'
# Fitted blocks keep most answers without training; the nearest ones in least squares of the weights do not.
top1() { sed -n '/^  "after": {/,/^  }/s/.*"top1": \([0-9.]*\).*/\1/p' "$1"; }
a=$(top1 r.json)
mcompress circulant "$M" -o near.onnx --block 8 --no-fit --calib fashion-mnist:train --data fashion-mnist:test --samples 2000 \
    --report n.json --no-latency -q
b=$(top1 n.json)
awk -v a="$a" -v b="$b" 'BEGIN { if (!(a > 0.82 && b < 0.6)) print "top-1 fitted " a ", nearest " b }'
# What it says of the accuracy is what eval finds.
mcompress eval out.onnx "$M" --data fashion-mnist:test --samples 2000 --json >e.json
grep -q "\"top1\": $a" e.json || echo "eval says another top1 than $a"
# The same bytes for any number of threads and again.
for t in 1 2; do
    mcompress circulant "$M" -o t$t.onnx --block 8 --calib fashion-mnist:train --threads $t -q --no-latency
    cmp t$t.onnx out.onnx
done
# A dry run writes nothing and is near.
mcompress circulant "$M" -o dry.onnx --block 8 --calib fashion-mnist:train --dry-run --json >d.json
[ ! -e dry.onnx ] || echo 'dry.onnx is there'
near=$(sed -n '/"output"/,/}/s/.*"bytes": \([0-9]*\).*/\1/p' d.json)
[ $((near - bytes)) -lt 4000 ] && [ $((bytes - near)) -lt 4000 ] || echo "predicted $near, got $bytes"
# In a chain, and trained on: what is circulant stays so, at the same size.
mcompress finetune out.onnx -o tuned.onnx --train fashion-mnist:train --epochs 0.02 --teacher "$M" -q --no-latency --lr 0.001
[ "$(wc -c <tuned.onnx)" -le 496000 ] || echo "it grew to $(wc -c <tuned.onnx)"
cmp -s out.onnx tuned.onnx && echo 'nothing was trained'
mcompress info tuned.onnx | grep -i circulant
mcompress run 'circulant:block=8,finetune:epochs=0.02,lr=0.001' "$M" -o chain.onnx --train fashion-mnist:train -q --no-latency
echo "$?"
[ "$(wc -c <chain.onnx)" -le 496000 ] || echo "the chain gives $(wc -c <chain.onnx)"
