# Recipes that are wrong: what, and where; nothing is written.
M=$MODELS/fashion-mlp.onnx
bad() {
    try mcompress run "$1" m.onnx -o out.onnx
}
cp "$M" m.onnx
for r in '' ' ' , svd, 'svd,,svd' quant svdd:keep=0.5 'svd:kep=0.3' 'svd:keep' 'svd:keep=' 'svd:keep=2' 'svd:keep=0.1,keep=0.2' \
    keep=0.3 'svd:keep=0.3,foo' 'svd:svd="exact' 'finetune:epochs=1,train=x.npz' 'finetune:reinit=maybe' 'svd:lr=0.1' \
    distill 'distill:width=0.5,student=m.onnx' 'finetune:checkpoint-every=3' é=1 'svd:é=1' 'svd:keep=0.3:rank=2'; do
    bad "$r"
done 2>&1 | sed 's/ or number of .*//'
try mcompress run svd m.onnx -o out.onnx --lr 0.1
try mcompress run svd m.onnx
try mcompress run m.onnx svd -o out.onnx
try mcompress run svd
try mcompress run finetune,finetune m.onnx -o out.onnx --train fashion-mnist:train --checkpoint c
file() {
    cat >"$1"
    bad "$1"
}
bad missing.yaml
file r.yaml <<'END'
steps:
  - svd: {keep: 0.3}
  - svd:
      energy: 0.9
      kep: 0.3
END
file r.yaml <<'END'
steps:
  - svd:
      keep: much
END
file r.yaml <<'END'
steps:
  - svd:
    keep: 0.3
END
file r.yaml <<'END'
steps: svd:keep=0.3,svdd
END
file r.yaml <<'END'
steps:
  - "svd:keep=0.3,finetune:epoch=1"
END
file r.yaml <<'END'
step: [svd]
END
file r.yaml <<'END'
steps: []
END
file r.yaml <<'END'
steps: [[svd]]
END
file r.yaml <<'END'
steps: [svd: 0.3]
END
file r.yaml <<'END'
steps: [{}]
END
file r.yaml <<'END'
name: 3
steps: [svd]
END
file r.yaml <<'END'
sed: 3
steps: [svd]
END
file r.yaml <<'END'
threads: 3
steps: [svd]
END
file r.yaml <<'END'
max-drop: lots
steps: [svd]
END
file r.yaml <<'END'
- svd
END
file r.yaml <<'END'
a: &a [x, x, x, x, x, x, x, x, x]
b: [*a, *a, *a, *a, *a, *a, *a]
END
file r.yaml <<'END'
steps: !!python/object/apply:os.system [ls]
END
file r.json <<'END'
{"steps": [{"svd": {"keep": 0.3,
                    "keep": 0.4}}]}
END
file r.json <<'END'
{"steps": [{"svd": {"keep": 0.3}},
           {"svd": {"norm": "weight"}}]
}
END
head -c 300000 /dev/zero | tr '\0' '[' >big.yaml
bad big.yaml
# Ends like a file, and begins with a step.
bad svd:keep=0.3,choices=c.json
bad svd.json
echo '{"steps": ["svd:keep=0.3"]}' >r.json
try mcompress run r.json m.onnx -o out.onnx --report r.json
try mcompress run r.json m.onnx -o out.onnx --report missing/r.html
try mcompress run svd:keep=0.3,choices-out=c.json m.onnx -o out.onnx --report c.json
ls
# Which step missed what it was to reach.
mcompress run svd:keep=0.5,svd:keep=0.01 "$MODELS/student.onnx" -o small.onnx -q 2>&1 | sed 's/target of .*/.../'
