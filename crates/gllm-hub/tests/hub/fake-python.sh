#!/bin/sh
# Stands in for `python3 -m pip download`: copies the wheel that lies beside this script's link to --dest.
here=$(dirname "$0")
echo "$*" >> "$here/arguments"
if [ ! -f "$here/fake-1.0-py3-none-any.whl" ]; then
    echo "ERROR: No matching distribution found" >&2
    exit 1
fi
while [ "$1" != --dest ]; do shift; done
mkdir -p "$2" && cp "$here"/*.whl "$2"
