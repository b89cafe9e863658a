# Weights in small forms (craft packs them, nothing is trained): what is said of them, and the forms in which they are written.
craft packed "$MODELS"/fashion-mlp.onnx calls.onnx
mcompress info calls.onnx | sed -n -e '3,4p' -e '/packed/,/all of them/p'
mcompress info --json calls.onnx | sed -n '/"packed"/,$p'
D="--data fashion-mnist:test --samples 200"
# Recalibrating changes nothing here: the calls are left, and written in each form.
for form in '' --inline --expand; do
    mcompress svd calls.onnx -o "out$form.onnx" $form --keep 1 $D --no-latency | grep -e size -e top-1 -e agreement -e smaller
    mcompress info "out$form.onnx" | sed -n -e '3,4p' -e '/^  functions/p' -e '/all of them/p'
    mcompress eval "out$form.onnx" $D | grep -e loss
done
try mcompress svd calls.onnx -o no.onnx --inline --expand --keep 0.5
try mcompress quant calls.onnx -o no.onnx
# A weight that is calls goes on learning: its scales and codebooks.
mcompress finetune calls.onnx -o tuned.onnx --train fashion-mnist:test --epochs 0.02 -q
mcompress info tuned.onnx | grep 'all of them'
# Gates of an LSTM.
craft packed "$MODELS"/fashion-lstm.onnx gates.onnx
mcompress info gates.onnx | sed -n '/packed/,/all of them/p'
mkdir models && cp calls.onnx gates.onnx models
mcompress batch -q svd:keep=1 models -o results --expand | sed -n '/before/,$s/[0-9.]* s.*//p'
mcompress info results/gates.onnx | sed -n '3,4p'
