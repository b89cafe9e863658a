# Limits of memory and time; Ctrl-C; killed in the middle, and gone on with.
S=$MODELS/student.onnx
M=$MODELS/fashion-mlp.onnx
mkdir in large
cp "$M" large/m.onnx
# The 60,000 samples leave time enough to be stopped at any speed.
large() {
    mcompress batch svd:keep=0.5 large -o out --data fashion-mnist:train -j 1 "$@"
    echo "$?"
    find out -type f ! -name lock
}
large --mem-limit 5M -q 2>&1
large --time-limit 0.05 -q 2>&1
for i in 1 2 3 4 5 6; do
    cp "$S" "in/m$i.onnx"
done
: >in/empty.onnx
: >in/m7.onnx
run() {
    exec mcompress batch svd:keep=0.5 in -o out --data fashion-mnist:test --samples 2000 -j 1 -q --report r.json
}
# All but times and what an earlier run did.
steady() {
    (cd out && find . -name '*.onnx' | LC_ALL=C sort | xargs sha256sum) >"$1"
    grep -v -e '"seconds"' -e '"peak_rss_bytes"' -e '"done_before"' -e '"threads"' r.json >>"$1"
}
rm -rf out
(run) 2>err
echo "$?"
steady undisturbed
stop() {
    rm -rf out r.json
    run 2>err &
    job=$!
    until ls out/.mcompress/????????????????????????????????.json >/dev/null 2>&1 || ! kill -0 $job; do sleep 0.01; done
    kill -$1 $job && echo "$1 in the middle"
    wait $job 2>/dev/null
    echo "$?"
    ls r.json 2>/dev/null
    sed -E 's/[0-9]+ of 8/N of 8/' err
    find out -name '*.part'
    (run) 2>err
    echo "$?"
    cat err
    steady after
    cmp undisturbed after && echo same
    grep -c '"done_before": 0' r.json
}
stop INT
stop KILL
# Two at the same folder: the second says so and touches nothing.
rm -rf out
mcompress batch svd:keep=0.5 large -o out --data fashion-mnist:train -j 1 -q 2>err &
job=$!
until [ -n "$(find out -name lock 2>/dev/null)" ] || ! kill -0 $job; do sleep 0.01; done
sleep 0.1
try mcompress batch svd:keep=0.5 large -o out -q
kill -KILL $job
wait $job 2>/dev/null
find out -type f
