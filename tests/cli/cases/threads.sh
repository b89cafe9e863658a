# The same bytes for any number of threads, samples to calibrate on included.
S=$MODELS/student.onnx
for t in 1 2 5; do
    mcompress svd "$S" -o $t.onnx --keep 0.5 --calib fashion-mnist:train --calib-count 128 --threads $t -q
done
cmp 1.onnx 2.onnx && cmp 1.onnx 5.onnx && echo same
