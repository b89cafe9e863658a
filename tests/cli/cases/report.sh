# The latency is in the report, and left out where it is not wanted; a missed target stands among the gates.
M=$MODELS/fashion-mlp.onnx
D="--data fashion-mnist:test --samples 200"
mcompress svd "$M" -o a.onnx --keep 0.3 $D --report r.json --report r.html --report r.md --report r.txt --report r.xml -q
for k in batch threads pairs runs inputs before after speedup; do
    grep -q "^    \"$k\"" r.json || echo "no latency.$k"
done
grep '"inputs": "' r.json
grep -c ' latency ' r.txt
grep -c 'class="tiles"' r.html
grep -c '^| latency |' r.md
grep -c '<testcase name="measured"' r.xml
mcompress svd "$M" -o b.onnx --keep 0.3 $D --no-latency --report s.json --report s.xml -q
cmp a.onnx b.onnx
grep '"latency"' s.json
grep -c latency s.xml
mcompress svd "$M" -o c.onnx --keep 0.3 --json | grep '"inputs": "'
mcompress svd "$M" -o d.onnx --keep 0.3 --dry-run --json | grep '"latency"'
# What cannot be reached: status 4, the model, and the reason in every face.
mcompress svd "$M" -o e.onnx --keep 0.001 --no-latency --report t.json --report t.xml --report t.md -q 2>err
echo "$?"
near() { sed 's/smallest is.*)/smallest is N/'; }
near <err
grep -A 5 '"name": "target"' t.json | near
grep -c '<testcase name="gate target".*<failure ' t.xml
grep '❌' t.md | near | sed 's/[0-9.]* %/N %/'
# Of an evaluation as well, with the command.
mcompress eval a.onnx "$M" $D --report e.md --report e.xml --require 'top1>=2' -q 2>err
echo "$?"
grep -e '^\* ❌' -e '    mcompress' e.md | sed -e "s|$MODELS|MODELS|" -e 's/top1 is .*/top1 is N/'
grep -c '<failure ' e.xml
