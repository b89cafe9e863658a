# A recipe does what its steps do one by one, whether it is a text, YAML or JSON.
M=$MODELS/fashion-mlp.onnx
T="--train fashion-mnist:train --holdout 0"
mcompress svd "$M" -o one.onnx --keep 0.3 -q
mcompress run svd:keep=0.3 "$M" -o chain.onnx -q
cmp one.onnx chain.onnx
mcompress svd "$M" -o one.onnx --keep 0.3 --norm weights --finetune 0.05 --lr 0.001 $T -q --no-history
mcompress run 'svd:keep=0.3,norm=weights,finetune=0.05,lr=0.001' "$M" -o chain.onnx $T -q --no-history
cmp one.onnx chain.onnx
mcompress run ' svd: keep = 30%, norm = weights , finetune: epochs=5e-2 ' "$M" -o chain.onnx $T --lr 0.001 -q --no-history
cmp one.onnx chain.onnx # an option of the run is for all steps that train,
mcompress run svd:keep=0.3,norm=weights,finetune:epochs=0.05,lr=0.001 "$M" -o chain.onnx $T --lr 0.5 -q --no-history
cmp one.onnx chain.onnx # and what a step says itself comes first
cat >r.yaml <<'END'
# smaller, then trained
name: small
train: fashion-mnist:train
holdout: 0
no-history: true
steps:
  - svd:keep=0.3,norm=weights
  - finetune:
      epochs: 0.05   # a part of the samples
      lr: 1e-3
END
cat >r.json <<'END'
{"steps": ["svd:keep=0.3,norm=weights", {"finetune": {"epochs": 0.05, "lr": 0.001}}],
 "train": "fashion-mnist:train", "holdout": 0, "no-history": true}
END
for r in r.yaml r.json; do
    mcompress run $r "$M" -o chain.onnx -q
    cmp one.onnx chain.onnx
done
mcompress run r.yaml "$M" -o other.onnx --train fashion-mnist:test -q # the command line wins
cmp -s one.onnx other.onnx && echo '--train of the command line does nothing'
# One by one, or in a chain, with files between: only the teacher must be given.
mcompress run svd:keep=0.4,svd:keep=0.5 "$M" -o chain.onnx --report r.report.json -q --threads 1
mcompress svd "$M" -o a.onnx --keep 0.4 -q --no-history
mcompress svd a.onnx -o b.onnx --keep 0.5 -q
ls -l b.onnx chain.onnx | awk '{ print $5 }' >sizes
awk '{ s[NR] = $1 } END { d = s[1] - s[2]; if (d > 20000 || d < -20000) print "sizes", s[1], s[2] }' sizes
plain() { # sizes and numbers of layers change with what svd learns
    sed 's/[0-9.]* [kM]B/N/g; s/[0-9]* of [0-9]* layers/N of N layers/'
}
grep '"summary"' r.report.json | plain
# The model knows what became of it, and goes on from there.
mcompress info chain.onnx | sed -n '/history/,/^$/p' | plain
mcompress run finetune:epochs=0.01,lr=0.01 chain.onnx -o again.onnx $T -q
mcompress info again.onnx | sed -n '/history/,/^$/p' | plain
mcompress info again.onnx --json | grep '"ai.mcompress.recipe"'
# The same bytes for any number of threads; what is aimed at holds for the file.
for t in 1 2; do
    mcompress run 'svd:keep=0.2,norm=weights,finetune:epochs=0.01,svd:keep=0.5,norm=weights' "$M" -o t$t.onnx $T --threads $t -q
done
cmp t1.onnx t2.onnx
[ "$(wc -c <t1.onnx)" -le $(($(wc -c <"$M") / 10)) ] || echo 'more than a tenth'
# A dry run writes nothing; a gate is that of the whole.
mcompress run r.yaml "$M" -o dry.onnx --dry-run | grep '^  size'
mcompress run svd:keep=0.5,svd:keep=0.02 "$M" -o gate.onnx --data fashion-mnist:test --samples 500 --max-drop 0.5% -q
echo "$?"
# What was run, as a recipe: it gives the same model again.
mcompress run svd:keep=0.3,norm=weights,finetune:epochs=0.02 "$M" -o one.onnx $T -q --no-history --recipe-out out.yaml \
    --data fashion-mnist:test --samples 200 --require 'top1>=0.5'
plain <out.yaml | sed "s|$MODELS|MODELS|; s/lr: .*/lr: N/" |
    grep -e '^# mcompress' -e '^[a-z]' -e '- svd:' -e keep: -e finetune: -e epochs: -e lr: -e '^    # N'
mcompress run out.yaml "$M" -o two.onnx -q --no-history --recipe-out two.yaml
cmp one.onnx two.onnx
sed 's/one\.onnx/two.onnx/' out.yaml | cmp - two.yaml
try mcompress run out.yaml "$M" -o two.onnx --recipe-out out.yaml | sed "s|$MODELS|MODELS|"
try mcompress run out.yaml "$M" -o two.onnx --recipe-out two.txt | sed "s|$MODELS|MODELS|"
ls
