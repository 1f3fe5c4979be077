#!/bin/sh
# Starts the language host that set-up built. The newest one that a Go module has is older than the CLI and reads no options
# of a Pulumi.yaml: without this it has every program load TypeScript's compiler and ts-node, which takes longer than the
# rest of the program's start.
folder=$PWD
while [ ! -e "$folder/Pulumi.yaml" ] && [ "$folder" != / ]; do folder=$(dirname "$folder"); done
if grep -qsE '^ +typescript: +false *$' "$folder/Pulumi.yaml"; then set -- -typescript=false "$@"; fi
exec "$0.built" "$@"
