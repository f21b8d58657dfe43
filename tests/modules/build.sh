#!/bin/sh
# Makes the objects in objects/ from the sources in src/, into the folder named (default: objects beside this).
#   sh build.sh [FOLDER]        gcc that can compile for both; no headers and no libraries are needed
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/objects}
mkdir -p "$out"
common="-c -O1 -ffreestanding -fno-asynchronous-unwind-tables -fno-stack-protector -fno-ident -fno-pic -fno-pie
        -fcf-protection=none -mno-sse -w"
for source in "$here"/src/*.c; do
	name=$(basename "$source" .c)
	case $name in
	common) extra="-fcommon" ;;
	*) extra="-fno-common" ;;
	esac
	model="-mcmodel=kernel -mno-red-zone"
	[ "$name" = far ] && model="-mcmodel=small"
	# shellcheck disable=SC2086
	gcc -m64 $common $extra $model -o "$out/$name-x86-64.o" "$source"
	# shellcheck disable=SC2086
	gcc -m32 $common $extra -o "$out/$name-i386.o" "$source"
done
