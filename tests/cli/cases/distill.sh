# A student follows a teacher, with labels and without; every pass can train what it made.
M=$MODELS/fashion-mlp.onnx C=$MODELS/fashion-cnn.onnx
D="--data fashion-mnist:test --samples 500"
mcompress svd "$M" -o small.onnx --keep 0.05 -q
mcompress distill "$C" --student small.onnx --train fashion-mnist:train --epochs 0.1 --lr 0.001 -o out.onnx $D --json >r.json
echo "$?"
grep -e '^        "loss": "' -e '"student"' -e '"command"' r.json
grep '"teacher"' r.json | sed "s|$MODELS|MODELS|"
size() { sed -n "/\"$1\"/,/}/s/.*\"bytes\": \([0-9]*\).*/\1/p" r.json; }
[ "$(size input)" = "$(wc -c <"$C")" ] && [ "$(size output)" = "$(wc -c <out.onnx)" ] || echo 'sizes differ'
mcompress eval small.onnx "$C" $D --require 'agreement>=0.8' -q 2>/dev/null
echo "before: $?"
mcompress eval out.onnx "$C" $D --require 'agreement>=0.8' -q 2>/dev/null
echo "after: $?"
# --finetune: without labels the model before is followed.
gzip -dc ${MCOMPRESS_DATA:-/usr/share/datasets}/fashion-mnist/train-images-idx3-ubyte.gz >images.idx
for spec in images.idx fashion-mnist:train; do
    mcompress svd "$M" -o tuned.onnx --keep 0.05 --train $spec --finetune 0.1 --lr 0.001 $D --require 'top1>=0.8' --json >r.json
    echo "$?"
    grep -e '^        "loss": "' -e '"calib"' -e '^  "train"' r.json
    grep '"teacher"' r.json | sed "s|$MODELS|MODELS|"
done
mcompress svd "$M" -o plain.onnx --keep 0.05 --train images.idx -q
mcompress eval plain.onnx $D --require 'top1>=0.8' 2>&1 | grep -c missed
mcompress svd "$M" -o tuned.onnx --keep 0.5 --train fashion-mnist:train --finetune 0.01 --teacher none --json | grep -e '^        "loss": "' -e '"teacher"'
# Samples without labels beside some with: the teacher answers for them.
gzip -dc ${MCOMPRESS_DATA:-/usr/share/datasets}/fashion-mnist/t10k-images-idx3-ubyte.gz >few.idx
gzip -dc ${MCOMPRESS_DATA:-/usr/share/datasets}/fashion-mnist/t10k-labels-idx1-ubyte.gz >few.labels
mcompress distill "$C" --student small.onnx --train few.idx:few.labels --unlabelled images.idx --epochs 0.05 --lr 0.001 -o out.onnx --json | grep -e '^        "loss": "' -e '^  "train"' -e '"samples"' -e '"held_out"'
mcompress finetune small.onnx --train few.idx:few.labels --unlabelled images.idx -o out.onnx 2>&1
echo "$?"
