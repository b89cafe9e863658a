# What becomes signs, what stays and why; bytes that are told; training in two stages, and a file that is trained again.
D='--calib fashion-mnist:train --calib-count 32'
rows() {
    tr -d '\n' <r.json | sed 's/  */ /g' | grep -o '{ "name": "[^"]*", "op": [^}]*}' |
        sed 's/"error".*//; s/"op": //; s/"name": //; s/[{}"]//g; s/^ *//; s/[ ,]*$//; s/weight: [^,]*, //'
}
b() {
    echo "binarize $*"
    mcompress binarize "$MODELS/fashion-$@" -o out.onnx -q --report r.json && rows
    [ "$(sed -n '/"output"/,/}/s/.*"bytes": \([0-9]*\).*/\1/p' r.json | head -1)" = "$(wc -c <out.onnx)" ] || echo 'bytes differ'
}
for m in mlp cnn lstm; do b $m.onnx; done
b lstm.onnx --all
for o in "" --depthwise; do b mobilenet.onnx --only '^/4/' $o | grep -v only; done
b mlp.onnx --body fast
b mlp.onnx --activations $D
b cnn.onnx --activations $D --no-shortcut
b mlp.onnx --keep 0.75 $D
b cnn.onnx --activations --target bytes=500k $D --choices-out c.json
b cnn.onnx --activations --choices c.json $D
# One file of three: functions, inlined, dense; all give the same.
mcompress binarize "$MODELS/fashion-mlp.onnx" --activations $D -o call.onnx -q
mcompress binarize "$MODELS/fashion-mlp.onnx" --activations $D -o inline.onnx -q --inline
mcompress binarize "$MODELS/fashion-mlp.onnx" --activations $D -o dense.onnx -q --expand
for f in inline dense; do
    mcompress eval call.onnx $f.onnx --data fashion-mnist:test --samples 200 | grep -o 'agreement: [0-9.]* % same decisions'
done
wc -c <call.onnx | awk '{ print ($1 <= 1720000 ? "small" : "large: " $1) }'
# A dry run changes nothing, and needs no samples.
mcompress binarize "$MODELS/fashion-mlp.onnx" --activations --dry-run -o dry.onnx | sed -n '/^  layer/,/^$/p' | sed 's/  *$//'
ls dry.onnx 2>/dev/null
# Inputs are trained first, then weights; what was written can be trained again.
T='--train fashion-mnist:train --holdout 0 --no-latency'
mcompress binarize "$MODELS/student.onnx" --activations --finetune 0.02 $T -o t.onnx -q --report r.json
tr -d '\n' <r.json | grep -o '"stage": "[^"]*"' | sort | uniq -c | sed 's/^ *//'
tr -d '\n' <r.json | grep -o '"epochs_asked": [0-9.]*' | sort | uniq
mcompress binarize "$MODELS/student.onnx" --activations --finetune 0.02 $T --ema 0 -o plain.onnx -q --report plain.json
for f in r plain; do tr -d '\n' <$f.json | grep -o '"ema": [0-9.]*' | sort | uniq; done
mcompress finetune t.onnx --epochs 0.01 $T --lr 0.001 -o again.onnx -q
for f in t again; do mcompress info $f.onnx | sed -n 's/  */ /g;/bits each/p'; done
