# shellcheck shell=bash
# A SoftHSM2 token of its own for tests. Source this file, then:
#
#   softhsm_start DIR     makes a token in DIR and exports SOFTHSM2_CONF, HKMS_TEST_SOFTHSM_MODULE,
#                         HKMS_TEST_SOFTHSM_TOKEN (its label) and HKMS_TEST_SOFTHSM_PIN_FILE
#   softhsm_stop DIR      removes it
#
# Call softhsm_start as a plain command, not in $(...): a subshell keeps its exports. It needs the Debian packages
# softhsm2 and opensc. There is no daemon: the token is files, which the module reads in the process that loads it.

softhsm__say() { printf 'softhsm: %s\n' "$*" >&2; }

softhsm_start() {
    local dir=$1 module pin
    for module in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so; do
        [ -f "$module" ] && break
    done
    if [ ! -f "$module" ] || ! command -v softhsm2-util >/dev/null; then
        softhsm__say "SoftHSM2 is missing: apt-get install softhsm2 opensc"
        return 1
    fi
    softhsm_stop "$dir"
    mkdir -p "$dir/tokens"
    dir=$(cd "$dir" && pwd)
    chmod 700 "$dir"
    printf '%s\n' "directories.tokendir = $dir/tokens" "objectstore.backend = file" "log.level = ERROR" \
        "slots.removable = false" >"$dir/softhsm2.conf"
    pin=$(openssl rand -hex 8)
    (umask 077 && printf '%s\n' "$pin" >"$dir/pin")
    export SOFTHSM2_CONF=$dir/softhsm2.conf
    if ! softhsm2-util --init-token --free --label hkms --pin "$pin" --so-pin "$(openssl rand -hex 8)" >/dev/null; then
        softhsm__say "the token could not be made in $dir"
        return 1
    fi
    export HKMS_TEST_SOFTHSM_MODULE=$module
    export HKMS_TEST_SOFTHSM_TOKEN=hkms
    export HKMS_TEST_SOFTHSM_PIN_FILE=$dir/pin
    softhsm__say "token hkms in $dir"
}

softhsm_stop() { rm -rf "$1/tokens" "$1/softhsm2.conf" "$1/pin"; }
