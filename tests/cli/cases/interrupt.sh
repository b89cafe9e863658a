# Ctrl-C in the middle: status 130, the old output stays, no other file is left; TERM does the same.
M=$MODELS/fashion-mlp.onnx
echo precious >out.onnx
stop() {
    : >err
    # The 60,000 samples, read again and again, leave time enough to stop at any speed.
    mcompress svd "$M" -o out.onnx --keep 0.5 -v --data fashion-mnist:train --report r.json 2>err >text &
    job=$!
    until grep -q prepared err || ! kill -0 $job 2>/dev/null; do sleep 0.01; done
    kill -$1 $job
    wait $job
    echo "$?"
    grep -v prepared err
    cat text out.onnx
    ls -A
}
stop INT
stop TERM
