# The form of a benchmark, with N for every number: they are this machine's. What costs most differs as well.
ln -s "$MODELS" models
form() {
    sed -e '/the costliest/,$d' -e 's/(OpenBLAS [A-Za-z0-9]*)/(OpenBLAS X)/' -e 's/[0-9][0-9.,]*/N/g' \
        -e 's/[kMG]*B\([,;]\|$\)/B\1/g' -e 's/  */ /g'
}
mcompress bench models/fashion-mlp.onnx --batch 4 --runs 2 | form
mcompress bench models/fashion-cnn.onnx --shape input=2x1x28x28 --runs 1 --threads 2 | form

# As JSON: five nodes cost most, and every one says what was joined to it.
mcompress bench models/fashion-cnn.onnx --batch 2 --runs 1 --json >bench.json
grep -c '"gflops"' bench.json
grep -o '"op": "[A-Za-z +]*"' bench.json | sort -u

# Where which way of circulant products is fastest: a line for each block size, one of three taken.
mcompress bench models/fashion-mlp.onnx --runs 1 --circulant 64 --rows 8 | sed -n '/circulant/,/^$/p' | form |
    sed -e 's/ \(dense\|dft\|fft\) N$/ WAY N/' -e 's/ N N N N/ N N N/'
mcompress bench models/fashion-mlp.onnx --runs 1 --circulant 512 --json | grep -c '"taken"'

# Inputs that cannot be made.
try mcompress bench models/fashion-mlp.onnx --shape other=1x1x28x28
try mcompress bench models/fashion-mlp.onnx --shape input=1x1xA
try mcompress bench models/fashion-mlp.onnx --shape input=1x1x27x28
try mcompress bench models/fashion-mlp.onnx --runs 0
try mcompress bench models/fashion-mlp.onnx --rows 5
try mcompress bench
