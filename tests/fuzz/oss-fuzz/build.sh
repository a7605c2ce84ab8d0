#!/bin/bash -eu
# SPDX-License-Identifier: GPL-3.0-or-later
# What OSS-Fuzz runs in its container: builds each target of ../targets that is in C with $CC, $CFLAGS
# and $LIB_FUZZING_ENGINE from the source in $SRC/agitator, and leaves in $OUT, beside it, its corpus as
# a zip, its dictionary and its options. The libraries that it needs and that are not where it will run
# go to $OUT/lib.

source=${SRC:?}/agitator
fuzz=$source/tests/fuzz
build=${WORK:?}/build
: "${OUT:?}" "${CC:?}" "${LIB_FUZZING_ENGINE:?}"

# An engine that isn't clang's own brings no C++ library with it, and is written in that.
engine=$LIB_FUZZING_ENGINE
case $engine in
-fsanitize=*) ;;
*) [[ ${CXXFLAGS:-} == *libc++* ]] && engine+=' -lc++' || engine+=' -lstdc++' ;;
esac

rm -rf "$build"
LDFLAGS="${LDFLAGS:-} -Wl,-rpath,'\$ORIGIN/lib'" meson setup --buildtype=plain -Db_lundef=false \
        -Dfuzzing-engine="$engine" "$build" "$source"
meson compile -C "$build" fuzz-targets

mkdir -p "$OUT/lib"
while read -r target words; do
        [ -f "$fuzz/fuzz-$target.c" ] || continue
        program=$build/tests/fuzz/fuzz-$target
        cp "$program" "$OUT/fuzz-$target"

        folders=("$fuzz/corpus/$target")
        for word in $words; do
                [[ $word != +* ]] || folders+=("$source/${word#+}")
        done
        find "${folders[@]}" -maxdepth 1 -type f |
                zip -q -j -@ "$OUT/fuzz-${target}_seed_corpus.zip"

        for kind in dict options; do
                [ ! -f "$fuzz/$target.$kind" ] || cp "$fuzz/$target.$kind" "$OUT/fuzz-$target.$kind"
        done
        ldd "$program" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' |
                grep -Ev '/lib(c|m|dl|rt|pthread|resolv)\.so' | xargs -r cp -n -L -t "$OUT/lib"
done < <(grep -v '^#' "$fuzz/targets")
