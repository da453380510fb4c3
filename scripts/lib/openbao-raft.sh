#!/usr/bin/env bash
# A cluster of three OpenBao servers over TLS 1.3 with Raft storage, for tests that kill its leader.
#
#   openbao-raft.sh start DIR BINARY     starts it, initialized, unsealed, with Transit, when all three are voters
#   openbao-raft.sh kill-leader DIR      kills the active server with SIGKILL and prints its number
#   openbao-raft.sh restart DIR NODE     starts a killed server again and waits until it follows
#   openbao-raft.sh api DIR METHOD PATH [BODY]   one call as root at whichever server is active
#   openbao-raft.sh stop DIR             kills what start started, and no other
#
# DIR/addresses holds the three addresses, DIR/pki/ca.crt their authority, DIR/token the root token (mode 0600).
# The file can be sourced, too: openbao_raft_start DIR BINARY and so on.

# shellcheck source=openbao.sh
. "$(dirname "${BASH_SOURCE[0]}")/openbao.sh"

# Key shares, and how many of them unseal.
OPENBAO_RAFT_SHARES=3
OPENBAO_RAFT_THRESHOLD=2

openbao_raft__ports() {
    python3 -c '
import socket
held = [socket.socket() for _ in range(6)]
for s in held:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))'
}

openbao_raft__address() { sed -n "${2}p" "$1/addresses"; }

# A call without a token: openbao_raft__call DIR NODE METHOD PATH [BODY]
openbao_raft__call() {
    curl --silent --fail --noproxy '*' --max-time 60 --cacert "$1/pki/ca.crt" --tlsv1.3 \
        --request "$3" --data "${5:-}" "$(openbao_raft__address "$1" "$2")/v1/$4"
}

# One value of a JSON object on standard input; fails where it is not there or false.
openbao_raft__field() {
    python3 -c '
import json, sys
value = json.load(sys.stdin)
for name in sys.argv[1].split("."):
    value = value[int(name)] if isinstance(value, list) else value[name]
print(str(value).lower() if isinstance(value, bool) else value)
sys.exit(value is False)' "$1" 2>/dev/null
}

# openbao_raft__wait SECONDS COMMAND...: until it succeeds.
openbao_raft__wait() {
    local tries=$(($1 * 5))
    shift
    while [ "$tries" -gt 0 ]; do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.2
        tries=$((tries - 1))
    done
    return 1
}

openbao_raft__spawn() {
    local dir=$1 node=$2 binary fd
    binary=$(cat "$dir/binary")
    (
        # Whoever runs this script may wait until everything that it handed down is closed.
        for fd in /proc/"$BASHPID"/fd/*; do
            fd=${fd##*/}
            [ "$fd" -le 2 ] || eval "exec $fd>&-"
        done
        exec nohup "$binary" server -config="$dir/node$node.hcl"
    ) >>"$dir/node$node.log" 2>&1 </dev/null &
    printf '%s\n' "$!" >"$dir/node$node.pid"
}

openbao_raft__initialized() {
    openbao_raft__call "$1" "$2" GET sys/seal-status | openbao_raft__field initialized
}

openbao_raft__unsealed() {
    [ "$(openbao_raft__call "$1" "$2" GET sys/seal-status | openbao_raft__field sealed)" = false ]
}

openbao_raft__unseal() {
    local dir=$1 node=$2 share
    for share in $(seq 0 $((OPENBAO_RAFT_THRESHOLD - 1))); do
        openbao_raft__call "$dir" "$node" POST sys/unseal \
            "{\"key\": \"$(openbao_raft__field "keys_base64.$share" <"$dir/init.json")\"}" >/dev/null || return 1
    done
    openbao_raft__wait 30 openbao_raft__unsealed "$dir" "$node"
}

# The number of the active server.
openbao_raft__leader() {
    local node
    for node in 1 2 3; do
        if openbao_raft__call "$1" "$node" GET sys/leader 2>/dev/null | openbao_raft__field is_self >/dev/null; then
            printf '%s\n' "$node"
            return 0
        fi
    done
    return 1
}

openbao_raft_api() {
    local dir=$1 method=$2 path=$3 body=${4:-} node
    if ! openbao_raft__wait 60 openbao_raft__leader "$dir" || ! node=$(openbao_raft__leader "$dir"); then
        openbao__say "no server is active, see $dir/node*.log"
        return 1
    fi
    printf 'header = "X-Vault-Token: %s"\n' "$(cat "$dir/token")" |
        curl --silent --show-error --fail --noproxy '*' --max-time 10 --config - --cacert "$dir/pki/ca.crt" \
            --request "$method" --data "$body" "$(openbao_raft__address "$dir" "$node")/v1/$path"
}

# A server that has just joined does not vote until it has caught up.
openbao_raft__all_vote() {
    openbao_raft_api "$1" GET sys/storage/raft/configuration 2>/dev/null | python3 -c '
import json, sys
servers = json.load(sys.stdin)["data"]["config"]["servers"]
sys.exit(sum(server["voter"] for server in servers) != 3)'
}

openbao_raft__init() {
    local dir=$1
    (
        umask 077
        openbao_raft__call "$dir" 1 POST sys/init \
            "{\"secret_shares\": $OPENBAO_RAFT_SHARES, \"secret_threshold\": $OPENBAO_RAFT_THRESHOLD}" \
            >"$dir/init.json" && openbao_raft__field root_token <"$dir/init.json" >"$dir/token"
    ) || {
        openbao__say "the cluster could not be initialized, see $dir/node1.log"
        return 1
    }
}

openbao_raft_start() {
    local dir=$1 binary=$2 ports node other
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    openbao__certificates "$dir/pki" || return 1
    printf '%s\n' "$binary" >"$dir/binary"
    read -r -a ports <<<"$(openbao_raft__ports)"
    for node in 1 2 3; do printf 'https://localhost:%s\n' "${ports[node - 1]}"; done >"$dir/addresses"
    for node in 1 2 3; do
        mkdir -p "$dir/data$node"
        {
            cat <<HCL
api_addr     = "https://localhost:${ports[node - 1]}"
cluster_addr = "https://127.0.0.1:${ports[node + 2]}"
listener "tcp" {
  address         = "127.0.0.1:${ports[node - 1]}"
  cluster_address = "127.0.0.1:${ports[node + 2]}"
  tls_cert_file   = "$dir/pki/server.crt"
  tls_key_file    = "$dir/pki/server.key"
  tls_min_version = "tls13"
}
storage "raft" {
  path    = "$dir/data$node"
  node_id = "node$node"
  # How often it is looked whether a server that has joined may vote.
  autopilot_update_interval    = "1s"
  autopilot_reconcile_interval = "1s"
HCL
            for other in 1 2 3; do
                [ "$other" = "$node" ] || cat <<HCL
  retry_join {
    leader_api_addr     = "https://localhost:${ports[other - 1]}"
    leader_ca_cert_file = "$dir/pki/ca.crt"
  }
HCL
            done
            echo "}"
        } >"$dir/node$node.hcl"
    done
    for node in 1 2 3; do
        # Not before there is a cluster to join: what has failed once is tried again after long pauses.
        openbao_raft__spawn "$dir" "$node"
        openbao_raft__wait 30 openbao_raft__call "$dir" "$node" GET sys/seal-status || {
            openbao__say "server $node does not listen, see $dir/node$node.log"
            return 1
        }
        if [ "$node" -eq 1 ]; then openbao_raft__init "$dir" || return 1; fi
        if ! openbao_raft__wait 60 openbao_raft__initialized "$dir" "$node" ||
            ! openbao_raft__unseal "$dir" "$node"; then
            openbao__say "server $node did not join, see $dir/node$node.log"
            return 1
        fi
        # Ten seconds of good conduct before a server may vote are for networks that tests do not have.
        [ "$node" -ne 1 ] || openbao_raft__wait 30 openbao_raft_api "$dir" POST \
            sys/storage/raft/autopilot/configuration '{"server_stabilization_time": "1s"}' || return 1
    done
    openbao_raft__wait 60 openbao_raft__all_vote "$dir" || {
        openbao__say "not all three servers vote, see $dir/node*.log"
        return 1
    }
    openbao_raft__wait 30 openbao_raft_api "$dir" POST sys/mounts/transit '{"type": "transit"}' || {
        openbao__say "the transit engine could not be enabled"
        return 1
    }
}

# Only the server that this folder's file names: a pid may have been given to somebody else since.
openbao_raft__kill() {
    local dir=$1 node=$2 pid waited=0
    [ -s "$dir/node$node.pid" ] || return 0
    read -r pid <"$dir/node$node.pid"
    rm -f "$dir/node$node.pid"
    [ "$(readlink "/proc/$pid/exe" || true)" = "$(cat "$dir/binary")" ] || return 0
    kill -9 "$pid" 2>/dev/null || true
    while [ "$waited" -lt 50 ] && openbao__alive "$pid"; do
        sleep 0.1
        waited=$((waited + 1))
    done
    wait "$pid" 2>/dev/null || true
}

openbao_raft_kill_leader() {
    local node
    openbao_raft__wait 60 openbao_raft__leader "$1" && node=$(openbao_raft__leader "$1") || return 1
    openbao_raft__kill "$1" "$node"
    printf '%s\n' "$node"
}

openbao_raft_restart() {
    openbao_raft__spawn "$1" "$2"
    openbao_raft__wait 30 openbao_raft__call "$1" "$2" GET sys/seal-status &&
        openbao_raft__unseal "$1" "$2" && openbao_raft__wait 60 openbao_raft__all_vote "$1"
}

openbao_raft_stop() {
    local node
    for node in 1 2 3; do openbao_raft__kill "$1" "$node"; done
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -euo pipefail
    command=${1:-}
    [ "$#" -ge 2 ] || command=''
    if [ -n "$command" ] && [ "$command" != start ] && [ ! -s "$2/addresses" ]; then
        openbao__say "$2 holds no cluster"
        exit 2
    fi
    case $command in
    start | restart | stop | api) shift && "openbao_raft_$command" "$@" ;;
    kill-leader) openbao_raft_kill_leader "$2" ;;
    *)
        openbao__say "usage: openbao-raft.sh start DIR BINARY | kill-leader DIR | restart DIR NODE | stop DIR |" \
            "api DIR METHOD PATH [BODY]"
        exit 2
        ;;
    esac
fi
