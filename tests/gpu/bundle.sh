#!/bin/sh
# bundle.sh BUILD OUT: the program and the tests for a machine with a GPU, with the shared libraries that they need, in
# one folder that runs wherever it is put; and two archives of it: OUT/mcompress-VERSION-linux-MACHINE.tar.gz, for users,
# and OUT/mcompress-VERSION-tests-MACHINE.tar.xz, with tests/gpu/run, models and, where they are installed, samples.
# Left to the machine: the C library, and of CUDA the driver and the libraries that are opened at first use.
set -eu
build=$1 out=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
version=$("$build/mcompress" --version | sed 's/.* //')
machine=$(uname -m)
name=mcompress-$version-linux-$machine

say() {
    echo "bundle: $*" >&2
}

rm -rf "$out"
mkdir -p "$out/$name/bin" "$out/$name/lib" "$out/$name/share/man/man1" "$out/$name/share/doc"
cd "$out"

# bring LIBRARY: into lib, with the notice of the package that it is from
bring() {
    cp -L "$1" "$name/lib/"
    package=$(dpkg-query -S "$(readlink -f "$1")" "$1" 2>/dev/null | sed 's/:.*//' | head -n 1)
    [ -z "$package" ] || [ ! -f "/usr/share/doc/$package/copyright" ] ||
        cp "/usr/share/doc/$package/copyright" "$name/share/doc/$package.txt"
}

# take PROGRAM FOLDER: its libraries go to lib, and are found from there
take() {
    target=$2/$(basename "$1")
    cp "$1" "$target"
    ldd "$1" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | while read -r lib; do
        case $(basename "$lib") in
        libc.so* | libm.so* | libpthread.so* | libdl.so* | librt.so* | libresolv.so*) ;;
        *) [ -e "$name/lib/$(basename "$lib")" ] || bring "$lib" ;;
        esac
    done
    # A path of the old kind holds for the libraries of the libraries too.
    patchelf --force-rpath --set-rpath "\$ORIGIN/$3lib" "$target"
}

take "$root/$build/mcompress" "$name/bin" ../
cp "$root/$build/mcompress.1" "$name/share/man/man1/"
cp "$root/README.md" "$name/"
strip --strip-unneeded "$name/bin/mcompress"
tar -czf "$name.tar.gz" "$name"

tests=$name/tests/gpu
mkdir -p "$tests/bin" "$name/models" "$tests/data"
for program in $(cat "$root/$build/tests/gpu/programs.txt" 2>/dev/null || true); do
    take "$program" "$tests/bin" ../../../
done
cp "$root/tests/gpu/run" "$root/tests/gpu/train_gpu_torch.py" "$root/tests/bench/train_torch.py" "$tests/"
cp "$root"/models/fashion-*.onnx "$name/models/"
samples=/usr/share/datasets/fashion-mnist
if [ -d "$samples" ]; then
    cp "$samples"/*-ubyte.gz "$tests/data/"
else
    say "no $samples: tests/gpu/run will train on random pictures"
fi
# The programs share most of what is in them: with a dictionary that spans them it is there once.
if command -v xz >/dev/null 2>&1; then
    tar -cf - "$name" | xz -6 --lzma2=preset=6,dict=256MiB >"mcompress-$version-tests-$machine.tar.xz"
else
    tar -czf "mcompress-$version-tests-$machine.tar.gz" "$name"
fi

# It runs where none of its libraries is to be found but its own.
if ldd "$name/bin/mcompress" | grep 'not found'; then
    say "a library is missing from the bundle"
    exit 1
fi
outside=$(ldd "$name/bin/mcompress" | awk '$2 == "=>" { print $3 }' |
    grep -v -e "^$PWD/" -e '/lib[cm]\.so' -e '/libpthread\.so' -e '/libdl\.so' -e '/librt\.so' || true)
if [ -n "$outside" ]; then
    say "the bundle still takes from the machine: $outside"
    exit 1
fi
"$name/bin/mcompress" info "$name/models/fashion-mlp.onnx" >/dev/null
ls -l ./*.tar.?z | awk '{ print $5, $9 }'
