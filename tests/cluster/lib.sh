# What the scripts of the test cluster share: where things are, and processes
# that are started once. Sourced, with `here` set to this folder.
# shellcheck shell=sh

root=$(cd "$here/../.." && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/codex-k8s"
version=v$(awk '$1 == "k8s.io/kubernetes" { sub(/^v/, "", $2); print $2; exit }' "$here/go.mod")
# One cluster for each checkout, outside of it.
checkout=$(printf %s "$root" | cksum | cut -d ' ' -f 1)
STATE="${CODEXK8S_CLUSTER_STATE:-$cache/clusters/$checkout}"

say() { echo "cluster: $*"; }
die() { echo "cluster: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Lets one script at a time change clusters of this host's user: their numbers and
# the programs are shared. What is started must close 9.
lock() {
    mkdir -p "$cache"
    exec 9>"$cache/clusters.lock"
    flock 9
}

# born PID: when a process started, in ticks since boot; nothing if it has ended.
born() {
    # The name in brackets may hold spaces; what follows it has fixed places.
    sed -n 's/^.*) //p' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'
}

# process_alive NAME: whether the process started under this name still runs. Its
# time of birth tells it from another that was given its number.
process_alive() {
    [ -s "$STATE/run/$1.pid" ] || return 1
    read -r pid birth <"$STATE/run/$1.pid"
    [ -n "$birth" ] && [ "$(born "$pid")" = "$birth" ]
}

# ensure NAME COMMAND…: has exactly this command running under this name.
ensure() {
    name=$1
    shift
    if process_alive "$name"; then
        [ "$*" = "$(cat "$STATE/run/$name.command")" ] && return 0
        stop "$name"
    fi
    printf %s "$*" >"$STATE/run/$name.command"
    setsid "$@" </dev/null >>"$STATE/log/$name.log" 2>&1 9>&- &
    echo "$! $(born $!)" >"$STATE/run/$name.pid"
}

# stop NAME [SIGNAL]: ends a process and waits until it is gone.
stop() {
    if process_alive "$1"; then
        kill -"${2:-TERM}" "$pid"
        tries=0
        while process_alive "$1"; do
            tries=$((tries + 1))
            [ "$tries" -eq 200 ] && kill -KILL "$pid"
            [ "$tries" -gt 400 ] && die "$1 (process $pid) does not end"
            sleep 0.1
        done
    fi
    rm -f "$STATE/run/$1.pid" "$STATE/run/$1.command"
}

# wait_for WHAT NAME COMMAND…: waits until a command succeeds, as long as the
# process of this name lives.
wait_for() {
    what=$1 name=$2
    shift 2
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 600 ] || ! process_alive "$name"; then
            tail -n 20 "$STATE/log/$name.log" >&2
            die "$what: not reached; see $STATE/log"
        fi
        sleep 0.2
    done
}

# port_free PORT: nobody listens there.
port_free() {
    ! cat /proc/net/tcp /proc/net/tcp6 2>/dev/null \
        | awk -v port="$(printf ':%04X' "$1")" '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }'
}

# What is derived from the cluster's number: ports, addresses and names that no
# other cluster on this host has.
numbers() {
    number=$1
    port_etcd=$((21000 + number * 10))
    port_peer=$((port_etcd + 1))
    port_api=$((port_etcd + 2))
    port_managers=$((port_etcd + 3))
    port_scheduler=$((port_etcd + 4))
    interface="cxk8s$number"
    host_address="10.213.$number.1"
    node_address="10.213.$number.2"
    pod_range="10.214.$number.0/24"
    node_name="node-$number"
    cgroup="codex-k8s-$number"
}

# take_number: the number of this cluster, chosen at its first start.
take_number() {
    if [ -s "$STATE/number" ]; then
        numbers "$(cat "$STATE/number")"
        return
    fi
    candidate=$((checkout % 250))
    for _ in $(seq 250); do
        numbers "$candidate"
        if port_free "$port_etcd" && port_free "$port_peer" && port_free "$port_api" \
            && port_free "$port_managers" && port_free "$port_scheduler" \
            && [ ! -e "/sys/class/net/$interface" ]; then
            echo "$candidate" >"$STATE/number"
            return
        fi
        candidate=$(((candidate + 1) % 250))
    done
    die "no free ports"
}

kube() { "$BIN/kubectl" --kubeconfig "$STATE/kubeconfig" "$@"; }
