#!/bin/sh
# Stands in for `python3 -m pip download`: copies the wheel that lies beside this script's link to --dest.
here=$(dirname "$0")
echo "$*" >> "$here/arguments"
for requirement; do :; done
wheel="$here/$(echo "$requirement" | sed 's/==/-/')-py3-none-any.whl"
if [ ! -f "$wheel" ]; then
    echo "ERROR: No matching distribution found" >&2
    exit 1
fi
while [ "$1" != --dest ]; do shift; done
mkdir -p "$2" && cp "$wheel" "$2"
