# The accuracy of the reference models, on the first test images.
for m in mlp:1000 cnn:200; do
    mcompress eval "$MODELS"/fashion-${m%:*}.onnx --data fashion-mnist:test --samples ${m#*:} | grep -e top- -e ' samples of'
done
mcompress eval "$MODELS"/fashion-mlp.onnx --data fashion-mnist:test --json >mlp.json
grep -m 1 '"top1"' mlp.json
for k in samples metrics agreement seconds device fallback_nodes; do
    grep -q "^  \"$k\"" mlp.json || echo "no $k"
done
# The same model as its own reference; the same figures for any number of threads.
for t in 1 3; do
    mcompress eval "$MODELS"/fashion-mlp.onnx "$MODELS"/fashion-mlp.onnx --data fashion-mnist:test \
        --samples 500 --threads $t --json | sed '/"arguments"/,/]/d; /"seconds"\|"peak_rss\|"threads"\|"path"\|"kernels"/d' >t$t.json
done
cmp t1.json t3.json
sed -n '/"drop"/,/^  }/p; /"agreement": {/,/^  }/p' t1.json
# Lesser kernels give the same decisions.
for k in ref plain; do
    MCOMPRESS_KERNELS=$k mcompress eval "$MODELS"/fashion-mlp.onnx --data fashion-mnist:test --samples 300 | grep top-1
done
# Unlabelled samples: no accuracy, but agreement.
craft npy 20 1 28 28 x.npy
mcompress eval "$MODELS"/fashion-mlp.onnx "$MODELS"/fashion-cnn.onnx --data x.npy --json | grep -A 5 '^  "metrics"'
