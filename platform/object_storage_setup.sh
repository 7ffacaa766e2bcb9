#!/bin/sh
# Buckets, their rules, and a key for each use, in the store that has just been started. What is there already stays, and is
# brought to what is written here: this runs again whenever something of it changes.
#
# /run/jhaas/root    user, password: of the store's administrator
# /run/jhaas/keys    NAME: the secret of the key jhaas-NAME
# /setup             buckets: lines BUCKET VERSIONS (yes or no); BUCKET.lifecycle.json; NAME.policy.json
set -eu

read_file() {
    # a file without the line's end that its last line may have
    IFS= read -r content <"$1" || [ -n "$content" ]
    printf '%s' "$content"
}

user=$(read_file /run/jhaas/root/user)
password=$(read_file /run/jhaas/root/password)
# no argument of a command and no file: the environment of this shell and of the client that it starts
export MC_HOST_store="http://$user:$password@${STORE#http://}"

while read -r bucket versions; do
    mc mb --ignore-existing "store/$bucket"
    if [ "$versions" = yes ]; then
        mc version enable "store/$bucket"
    fi
    if [ -e "/setup/$bucket.lifecycle.json" ]; then
        mc ilm rule import "store/$bucket" <"/setup/$bucket.lifecycle.json"
    fi
done </setup/buckets

for file in /run/jhaas/keys/*; do
    name=${file##*/}
    key="jhaas-$name"
    # of a key that is there, this changes the secret
    printf '%s\n%s\n' "$key" "$(read_file "$file")" | mc admin user add store
    mc admin policy create store "$key" "/setup/$name.policy.json"
    if ! said=$(mc admin policy attach store "$key" --user "$key" 2>&1); then
        case "$said" in
        *"already in effect"*) ;;
        *)
            printf '%s\n' "$said" >&2
            exit 1
            ;;
        esac
    fi
done
echo "buckets and keys are as they should be"
