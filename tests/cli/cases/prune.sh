# Nodes are gone, from the file and from what is said of it; the same bytes again and for any number of threads.
M=$MODELS/fashion-mlp.onnx
D='--calib fashion-mnist:train --calib-count 64'
mcompress prune "$M" -o out.onnx --keep 0.5 --data fashion-mnist:test --samples 500 --report r.json --report r.html -q
echo "$?"
[ "$(sed -n '/"output"/,/}/s/.*"bytes": \([0-9]*\).*/\1/p' r.json)" = "$(wc -c <out.onnx)" ] || echo 'bytes differ'
grep -o '"choice": "[^"]*"' r.json
for k in nodes_before nodes_after units_before units_after kind criterion why scope counts; do
    grep -q "\"$k\"" r.json || echo "no $k"
done
grep -c 'Nodes by layer' r.html
mcompress eval out.onnx "$M" --data fashion-mnist:test --samples 500 --json >e.json
figures() {
    sed -n "/^  \"$1\": {/,/^  }/p" "$2" | sed '1d'
}
figures after r.json >a
figures metrics e.json | cmp - a
for t in 1 2 3; do
    mcompress prune "$M" -o t$t.onnx --keep 0.5 $D --importance obs --threads $t -q
    cmp t$t.onnx t1.onnx
done
# Half the nodes where it costs least, and half the parameters or fewer.
mcompress prune "$M" -o half.onnx --keep 0.5 $D --no-repair --json >h.json
sed -n '/"nodes": \[/,/\]/p;/"params": \[/,/\]/p' h.json | tr -d ' \n' | tr ']' '\n' | sed 's/[^0-9.,[]//g; s/^,//; s/\[/ /; s/,/ /' |
    awk 'NF == 2 && $2 > $1 / 2 { print "more than half" }'
# A dry run writes nothing and comes near.
mcompress prune "$M" -o dry.onnx --keep 0.5 --dry-run --json >d.json
[ ! -e dry.onnx ] || echo 'dry.onnx is there'
grep -o '"choice": "[^"]*"' d.json
# What is said of single layers.
lines() {
    grep -E 'keep [0-9]+ of|  [0-9]+ x ' | sed 's/  */ /g; s/ [0-9.]* [kM]B -> .*//'
}
mcompress prune "$M" --dry-run --keep 0.25 --keep /3/Gemm=0.75 --skip '^/5/' | lines
mcompress prune "$M" --dry-run --keep 0.5 --only '/1/|/3/' --round-to 96 | lines
# Channels of convolutions in blocks of 8, unless another number is asked for.
mcompress prune "$MODELS/fashion-cnn.onnx" --dry-run --keep 0.4 | lines
mcompress prune "$MODELS/fashion-cnn.onnx" --dry-run --keep 0.4 --round-to 1 | lines
mcompress prune "$M" --dry-run --keep 0.3 --scope global --min-keep 0.25 --max-keep 0.5 | lines
mcompress prune "$M" --dry-run --keep /3/Gemm=50% | lines
mcompress prune "$M" --dry-run --keep 1 | lines
# A target is met to the last unit.
for t in bytes=700k params=0.3 macs=200k; do
    mcompress prune "$M" -o t.onnx --target $t --scope layer -q --report t.json
    sed -n '/"search"/,/"layers"/s/.*"\(limit\|after\)": \([0-9.]*\).*/\1 \2/p' t.json |
        awk -v t=$t '{ v[$1] = $2 } END { ok = v["after"] <= v["limit"] && v["after"] > 0.98 * v["limit"]; print t, ok ? "met" : "missed" }'
done
mcompress prune "$M" -o t.onnx --target bytes=700000 --importance l2 --scope global -q
wc -c <t.onnx | awk '{ ok = $1 <= 700000 && $1 > 695000; print ok ? "near" : "far: " $1 }'
mcompress prune "$M" -o x.onnx --target bytes=10k -q 2>err
echo "$?"
sed 's/least is .*/least is …/' err
ls -1 x.onnx
# Choices, given back or by hand.
mcompress prune "$M" -o a.onnx --target params=0.4 $D --choices-out c.json --no-history -q
mcompress prune "$M" -o b.onnx --choices c.json $D --no-history -q
cmp a.onnx b.onnx && echo the same model
echo '{"layers": [{"name": "/3/Gemm", "choice": "keep 33 of 512"}]}' >hand.json
mcompress prune "$M" --dry-run --choices hand.json | lines
# A recipe says the same, and so does what the model remembers.
printf 'steps:\n  - prune: {keep: 0.5}\n' >r.yaml
mcompress run r.yaml "$M" -o run.onnx -q && cmp run.onnx out.onnx && echo the same by recipe
mcompress info out.onnx | grep -o 'prune:keep=0.5: 3 of 4 layers changed\|prune:keep=0.5: .*3 of 4 layers changed' | sed 's/: .*,/: …,/'
# Cut and train in turns.
mcompress prune "$M" -o s.onnx --keep 0.36 --steps 2 --finetune 0.02 --train fashion-mnist:train --importance l2 --scope layer \
    --no-repair -q --report s.json
grep -o '"choice": "[^"]*"' s.json
grep -c '"updates"' s.json
# What --min-keep says is of all steps together.
mcompress prune "$M" -o s.onnx --target params=10 --min-keep 0.25 --steps 2 --finetune 0.01 --train fashion-mnist:train \
    --importance l2 --no-repair -q --report s.json 2>err
echo "$?"
sed 's/least is .*(/least is … (/; s/([0-9.]*)/(…)/; s/of [0-9,]* param/of … param/' err
grep -o '"choice": "[^"]*"' s.json | uniq -c | sed 's/^ *//'
# Errors that are only predicted are told as such, in the tables and above the curves.
mcompress prune "$M" -o p.onnx --keep 0.5 $D -q --report p.html --report p.txt
grep -c ' predicted$' p.txt
grep -o 'up: error as predicted by obs\|nothing was measured' p.html
mcompress prune "$M" -o p.onnx --keep 0.5 --scope global -q --report p.html
grep -o 'up: score of the nodes that go, by l2\|nothing was measured' p.html
# Of few samples, what other criteria would do is tried as well, unless one is asked for.
for o in '' '--importance obs'; do
    mcompress prune "$MODELS/fashion-lstm.onnx" -o few.onnx --keep 0.8 --calib fashion-mnist:train --calib-count 16 $o -q --report few.json
    sed -n '/"rivals"/,/\]/p' few.json | grep -o '"\(criterion\|scope\)": "[^"]*"'
    echo .
done
