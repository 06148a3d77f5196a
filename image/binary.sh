#!/bin/sh
# Builds the program as it is in the image, static and without `dev`: image/binary.sh amd64|arm64 FILE
#
# The same source, Rust and zig give the same bytes, wherever they are: paths are mapped away.
# ZIG is the zig to use (default: the one on PATH), PROFILE cargo's profile (default: release).
set -eu

usage() {
    echo "usage: image/binary.sh amd64|arm64 FILE" >&2
    exit 2
}
[ $# -eq 2 ] || usage
case $1 in
amd64) processor=x86_64 ;;
arm64) processor=aarch64 ;;
*) usage ;;
esac
file=$2
here=$(cd "$(dirname "$0")" && pwd -P)
root=$(dirname "$here")
target=$processor-unknown-linux-musl
profile=${PROFILE:-release}
cargo_home=${CARGO_HOME:-$HOME/.cargo}

# One piece of code in the end: smaller than the pieces of a thin LTO, which have copies of each other.
export CARGO_PROFILE_RELEASE_LTO=fat
export ZIG="${ZIG:-zig}" ZIG_TARGET="$processor-linux-musl"
name=$(echo "$target" | tr - _)
upper=$(echo "$name" | tr a-z A-Z)
export "CC_$name=$here/zig-cc" "AR_$name=$here/zig-ar"
export "CFLAGS_$name=-ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$root=/airside"
# Rust brings musl's objects and a linker; zig is for C alone.
export "CARGO_TARGET_${upper}_LINKER=rust-lld"
export "CARGO_TARGET_${upper}_RUSTFLAGS=-Clink-self-contained=yes \
--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$root=/airside"

cd "$root"
# Nobody reads symbols there; relative relocations packed take an eighth of a bit each and not 24 bytes.
cargo rustc --locked --profile "$profile" --no-default-features --target "$target" --bin airside -- \
    -Cstrip=symbols -Clink-arg=-zpack-relative-relocs
built=${CARGO_TARGET_DIR:-target}/$target/$profile/airside
mkdir -p "$(dirname "$file")"
cp "$built" "$file"
