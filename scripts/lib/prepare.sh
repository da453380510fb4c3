# shellcheck shell=bash
# Source this file: `prepare_packages` installs the Debian packages that building needs, where they are
# missing; `prepare_build` builds everything once, in the one configuration that runs and tests share.

HKMS_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
HKMS_BIN=$HKMS_ROOT/.build/release

say() { printf '%s\n' "$*" >&2; }

prepare_packages() {
    local wanted=(libsqlite3-dev zlib1g-dev curl "$@") missing=() package
    for package in "${wanted[@]}"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ "${#missing[@]}" -eq 0 ] && return 0
    say "installing ${missing[*]}"
    local run=()
    [ "$(id -u)" -eq 0 ] || run=(sudo)
    "${run[@]}" apt-get update -qq >&2
    "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

prepare_build() {
    command -v swift >/dev/null || {
        say "Swift 6.3 is missing: install it from swift.org and try again"
        return 1
    }
    say "building (the first build takes several minutes)"
    (cd "$HKMS_ROOT" && swift build -c release) >&2
}

# free_port: a TCP port of the loopback interface that nobody listens on.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
