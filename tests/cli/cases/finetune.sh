# A short training: the report has the curve, the same bytes for any threads, and after an interruption.
M=$MODELS/fashion-mlp.onnx
# Without held-out samples the last weights count: the model has seen all of these, nothing beats it on them.
T="--train fashion-mnist:train --lr 0.0005 --holdout 0"
mcompress finetune "$M" -o out.onnx $T --epochs 0.1 --data fashion-mnist:test --samples 500 --require 'top1>=0.85' \
    --report r.json --report r.html --report r.md -q
echo "$?"
cmp -s out.onnx "$M" && echo 'nothing was trained'
more=$(($(wc -c <out.onnx) - $(wc -c <"$M"))) # what was done is noted in the model
[ $more -gt 0 ] && [ $more -lt 500 ] || echo "another size: $more"
mcompress eval out.onnx --data fashion-mnist:test --samples 500 --require 'top1>=0.85' -q || echo 'OUT does not run'
for k in loss optimizer lr updates samples trained frozen peak_bytes best curve epochs_log train teacher; do
    grep -q "^        \"$k\":" r.json || echo "no training.$k"
done
grep -c '"step":' r.json
grep -c '<svg' r.html
grep -e '<summary>Training<' -e '^    mcompress finetune' r.md | sed "s|$MODELS|MODELS|"
for t in 1 2; do
    mcompress finetune "$M" -o t$t.onnx $T --epochs 0.1 --threads $t -q
    cmp t$t.onnx out.onnx
done
mcompress finetune "$M" -o s.onnx $T --epochs 0.1 --seed 1 -q
cmp -s s.onnx out.onnx && echo 'the seed makes no difference'
# Killed by Ctrl-C after some updates, and gone on: as if it had not been.
mcompress finetune "$M" -o whole.onnx $T --epochs 0.3 -q
mcompress finetune "$M" -o parts.onnx $T --epochs 0.3 --checkpoint c.ckpt --checkpoint-every 10 2>err &
job=$!
until [ -e c.ckpt ] || ! kill -0 $job 2>/dev/null; do sleep 0.01; done
kill -INT $job
wait $job
echo "$?"
sed 's/after [0-9]* of/after N of/' err
[ ! -e parts.onnx ] || echo 'parts.onnx is there'
mcompress finetune "$M" -o parts.onnx $T --epochs 0.3 --checkpoint c.ckpt --checkpoint-every 10 -q
cmp whole.onnx parts.onnx
# From the start, for other classes; what would be done; the graph of a step.
mcompress finetune "$M" -o head.onnx $T --epochs 0.01 --reinit --head 12 --json | grep -e '"classes' -e '"fresh"' -e '"drop"'
mcompress info head.onnx --json | sed -n '/"outputs"/,/]/p' | tr -d ' \n'
echo
mcompress finetune "$M" $T --dry-run --dump-graph step.onnx | sed -n '/training/,/^$/p' | sed 's/[0-9.]* MB/N MB/'
mcompress info step.onnx --json | grep -c '"train.lr"'
[ ! -e dry.onnx ] || echo 'a dry run writes'
# The same samples to train and to judge: a warning and a flag.
mcompress finetune "$M" -o o.onnx $T --epochs 0.001 --data fashion-mnist:train --samples 10 --json | grep '"overlap"'
ls
