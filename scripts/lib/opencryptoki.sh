# shellcheck shell=bash
# The soft token of opencryptoki for tests. Source this file, then:
#
#   opencryptoki_start DIR     starts pkcsslotd where none runs, makes the token and exports
#                              HKMS_TEST_OPENCRYPTOKI_MODULE, HKMS_TEST_OPENCRYPTOKI_TOKEN (its label),
#                              HKMS_TEST_OPENCRYPTOKI_SLOT, HKMS_TEST_OPENCRYPTOKI_PIN_FILE and
#                              HKMS_TEST_OPENCRYPTOKI_OFFICER_PIN_FILE
#   opencryptoki_stop DIR      stops the daemon that opencryptoki_start DIR started, and no other, and puts back what
#                              was in the token's folder
#
# Call opencryptoki_start as a plain command, not in $(...): a subshell keeps its exports. It needs the Debian package
# opencryptoki and root: daemon and token have one place in a machine (/var/lib/opencryptoki/swtok). A token that is
# there already is kept aside and put back.

OPENCRYPTOKI_TOKEN_DIR=/var/lib/opencryptoki/swtok
OPENCRYPTOKI_SHARED_MEMORY=/dev/shm/var.lib.opencryptoki.swtok

opencryptoki__say() { printf 'opencryptoki: %s\n' "$*" >&2; }

opencryptoki__alive() {
    local state
    kill -0 "$1" 2>/dev/null || return 1
    state=$(sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -c1) || return 1
    [ -n "$state" ] && [ "$state" != Z ]
}

# Prints the number of the slot with the soft token, once the daemon answers.
opencryptoki__slot() {
    { pkcsconf -t 2>/dev/null || true; } |
        awk '/Token #[0-9]+ Info/ { n = $2 } /Model: .*SoftTok/ { gsub("#", "", n); print n; exit }'
}

opencryptoki_start() {
    local dir=$1 module candidate slot='' waited=0 officer pin pid
    for candidate in /usr/lib/*/pkcs11/libopencryptoki.so /usr/lib/pkcs11/libopencryptoki.so; do
        [ -f "$candidate" ] && module=$candidate && break
    done
    if [ -z "${module:-}" ] || ! command -v pkcsslotd >/dev/null; then
        opencryptoki__say "opencryptoki is missing: apt-get install opencryptoki"
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        opencryptoki__say "its daemon needs root"
        return 1
    fi
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    opencryptoki_stop "$dir"
    if [ -n "$(opencryptoki__slot)" ]; then
        opencryptoki__say "a pkcsslotd of somebody else runs: stop it, its token is not for tests"
        return 1
    fi
    # Where the machine was not booted, nobody has made the folder for locks.
    mkdir -p /run/lock/opencryptoki/swtok
    chgrp -R pkcs11 /run/lock/opencryptoki
    chmod 770 /run/lock/opencryptoki /run/lock/opencryptoki/swtok
    mkdir -p "$dir/before"
    find "$OPENCRYPTOKI_TOKEN_DIR" -mindepth 1 -maxdepth 1 -exec mv {} "$dir/before/" \;
    install -d -m 770 -g pkcs11 "$OPENCRYPTOKI_TOKEN_DIR/TOK_OBJ"
    rm -f "$OPENCRYPTOKI_SHARED_MEMORY"

    nohup pkcsslotd -f >"$dir/pkcsslotd.log" 2>&1 </dev/null &
    pid=$!
    printf '%s\n' "$pid" >"$dir/pkcsslotd.pid"
    while [ "$waited" -lt 100 ] && opencryptoki__alive "$pid"; do
        slot=$(opencryptoki__slot) || true
        [ -n "$slot" ] && break
        sleep 0.1
        waited=$((waited + 1))
    done
    if [ -z "$slot" ]; then
        opencryptoki__say "pkcsslotd shows no soft token, see $dir/pkcsslotd.log"
        opencryptoki_stop "$dir"
        return 1
    fi
    officer=$(openssl rand -hex 4)
    pin=$(openssl rand -hex 4)
    (umask 077 && printf '%s\n' "$pin" >"$dir/pin" && printf '%s\n' "$officer" >"$dir/officer-pin")
    # The PINs of a token that was never used are the manual's.
    if ! { printf 'hkms\n' | pkcsconf -I -c "$slot" -S 87654321 &&
        pkcsconf -P -c "$slot" -S 87654321 -n "$officer" &&
        pkcsconf -u -c "$slot" -S "$officer" -n "$pin"; } >"$dir/pkcsconf.log" 2>&1; then
        opencryptoki__say "the token could not be made, see $dir/pkcsconf.log"
        opencryptoki_stop "$dir"
        return 1
    fi
    export HKMS_TEST_OPENCRYPTOKI_MODULE=$module
    export HKMS_TEST_OPENCRYPTOKI_TOKEN=hkms
    export HKMS_TEST_OPENCRYPTOKI_SLOT=$slot
    export HKMS_TEST_OPENCRYPTOKI_PIN_FILE=$dir/pin
    export HKMS_TEST_OPENCRYPTOKI_OFFICER_PIN_FILE=$dir/officer-pin
    opencryptoki__say "token hkms in slot $slot"
}

opencryptoki_stop() {
    local dir=$1 pid='' waited=0
    [ -s "$dir/pkcsslotd.pid" ] || return 0
    read -r pid <"$dir/pkcsslotd.pid" || true
    # A pid may have been given to somebody else since.
    if [ -n "$pid" ] && opencryptoki__alive "$pid" && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = pkcsslotd ]; then
        kill "$pid" 2>/dev/null || true
        while [ "$waited" -lt 100 ] && opencryptoki__alive "$pid"; do
            sleep 0.1
            waited=$((waited + 1))
        done
        if opencryptoki__alive "$pid"; then kill -9 "$pid" 2>/dev/null || true; fi
        wait "$pid" 2>/dev/null || true
    fi
    if [ -d "$dir/before" ]; then
        find "$OPENCRYPTOKI_TOKEN_DIR" -mindepth 1 -maxdepth 1 -exec rm -rf {} +
        find "$dir/before" -mindepth 1 -maxdepth 1 -exec mv {} "$OPENCRYPTOKI_TOKEN_DIR/" \;
        rmdir "$dir/before"
        rm -f "$OPENCRYPTOKI_SHARED_MEMORY"
    fi
    rm -f "$dir/pkcsslotd.pid" "$dir/pin" "$dir/officer-pin"
}
