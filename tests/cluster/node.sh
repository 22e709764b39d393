# The node: containerd, kubelet and kube-proxy, in network, mount and process
# namespaces of their own. What they and their pods leave behind goes with the
# namespaces; only their cgroups are in the host's tree. Sourced; needs `BIN` and
# the cluster's numbers.
# shellcheck shell=sh

node_programs="containerd containerd-shim-runc-v2 runc ctr ip nft iptables conntrack unshare nsenter cc"

# Installs what a node needs where that is allowed without asking.
install_node_programs() {
    [ "$(id -u)" = 0 ] && have apt-get || return 0
    missing=""
    for program in $node_programs; do have "$program" || missing=yes; done
    [ -x /usr/lib/cni/bridge ] || missing=yes
    [ -z "$missing" ] && return 0
    say "installing containerd, runc and what they need"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends containerd runc \
        containernetworking-plugins iptables nftables iproute2 conntrack util-linux gcc libc6-dev \
        >/dev/null || say "not everything could be installed"
}

# node_refusal: why there can be no pods here, or nothing.
node_refusal() {
    for program in kube-controller-manager kube-scheduler kubelet kube-proxy; do
        [ -x "$BIN/$program" ] || { echo "there is no $program in $BIN"; return; }
    done
    [ "$(id -u)" = 0 ] || { echo "a node needs root"; return; }
    for program in $node_programs; do
        have "$program" || { echo "$program is missing"; return; }
    done
    [ -x /usr/lib/cni/bridge ] || { echo "the CNI plugins are missing in /usr/lib/cni"; return; }
    unshare --mount --net --pid --fork true 2>/dev/null || echo "namespaces are not allowed here"
}

# inside COMMAND…: in the node's namespaces.
inside() {
    read -r holder _ <"$STATE/run/holder.pid"
    nsenter --mount="/proc/$holder/ns/mnt" --net="/proc/$holder/ns/net" \
        --pid="/proc/$holder/ns/pid_for_children" -- "$@" 9>&-
}

# ensure_inside NAME COMMAND…: has a command running in the node's namespaces.
ensure_inside() {
    inside_name=$1
    shift
    read -r holder _ <"$STATE/run/holder.pid"
    ensure "$inside_name" nsenter --mount="/proc/$holder/ns/mnt" --net="/proc/$holder/ns/net" \
        --pid="/proc/$holder/ns/pid_for_children" -- "$@"
}

# The namespaces and the link into them. When their first process dies, all ends.
start_namespaces() {
    if process_alive holder && [ -e "$STATE/node/linked" ] && [ -e "/sys/class/net/$interface" ]; then
        return 0
    fi
    stop_node
    mkdir -p "$STATE/node"
    ensure holder unshare --mount --net --pid --fork --kill-child --mount-proc \
        "$here/holder" "$STATE"
    wait_for "the node's namespaces are there" holder test -e "$STATE/node/held"
    process_alive holder
    ip link add "$interface" type veth peer name eth0 netns "$pid"
    ip address add "$host_address/30" dev "$interface"
    ip link set "$interface" up
    inside ip link set lo up
    inside ip address add "$node_address/30" dev eth0
    inside ip link set eth0 up
    inside ip route add default via "$host_address"
    touch "$STATE/node/linked"
}

# The cgroup under which the kubelet keeps its pods, in each hierarchy.
start_cgroups() {
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        mkdir -p "/sys/fs/cgroup/$cgroup"
        return 0
    fi
    for hierarchy in /sys/fs/cgroup/*/; do
        [ -e "$hierarchy/cgroup.procs" ] || continue
        mkdir -p "$hierarchy$cgroup"
        # A new group of this hierarchy takes nobody in before it has these.
        for file in cpuset.cpus cpuset.mems; do
            [ ! -e "$hierarchy$file" ] || cat "$hierarchy$file" >"$hierarchy$cgroup/$file"
        done
    done
}

# snapshotter: overlayfs where the state folder's file system can carry it.
snapshotter() {
    probe="$STATE/node/probe"
    mkdir -p "$probe/lower" "$probe/upper" "$probe/work" "$probe/all"
    if inside mount -t overlay overlay \
        -o "lowerdir=$probe/lower,upperdir=$probe/upper,workdir=$probe/work" "$probe/all" 2>/dev/null; then
        inside umount "$probe/all"
        echo overlayfs
    else
        echo native
    fi
}

containerd_config() {
    cat <<TOML
version = 2
root = "$STATE/node/containerd"
state = "/run/containerd"

[grpc]
address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "codex-k8s.dev/pause:1"
# Where CAP_SYS_RESOURCE is missing, runc dies without this.
restrict_oom_score_adj = true
disable_apparmor = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$STATE/node/cni"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "$(snapshotter)"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
TOML
}

network_config() {
    cat <<JSON
{
  "cniVersion": "0.4.0",
  "name": "codex-k8s",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": {"type": "host-local", "ranges": [[{"subnet": "$pod_range"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
JSON
}

kubelet_config() {
    cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $STATE/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $STATE/pki/kubelet.crt
tlsPrivateKeyFile: $STATE/pki/kubelet.key
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
# The disk and its images are the host's business.
evictionHard: {memory.available: 100Mi, nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
imageGCHighThresholdPercent: 100
YAML
}

# small_image NAME: an image of one static program, made here of NAME.c and taken
# into the node: no registry is asked.
small_image() {
    image="$STATE/node/$1"
    [ ! -e "$image/image.tar" ] || return 0
    mkdir -p "$image"
    (
        cd "$image"
        cc -static -Os -s -o "$1" "$here/$1.c"
        tar --owner 0 --group 0 --numeric-owner -cf layer.tar "$1"
        digest=$(sha256sum layer.tar | cut -d ' ' -f 1)
        architecture=$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
        cat >config.json <<JSON
{"architecture": "$architecture", "os": "linux", "config": {"Entrypoint": ["/$1"], "User": "65535:65535"},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$digest"]}}
JSON
        echo "[{\"Config\": \"config.json\", \"RepoTags\": [\"codex-k8s.dev/$1:1\"], \"Layers\": [\"layer.tar\"]}]" >manifest.json
        tar -cf new.tar manifest.json config.json layer.tar
        "$here/image" new.tar >/dev/null
        mv new.tar image.tar
    )
}

start_containerd() {
    node="$STATE/node"
    mkdir -p "$node/cni"
    [ -e "$node/containerd.toml" ] || containerd_config >"$node/containerd.toml"
    network_config >"$node/cni/10-codex-k8s.conflist"
    ensure_inside containerd containerd --config "$node/containerd.toml"
    wait_for "containerd answers" containerd inside ctr version
    # What holds a pod's namespaces, and what tests run in pods.
    small_image pause
    small_image test-pod
}

start_kubelet() {
    kubelet_config >"$STATE/node/kubelet.yaml"
    ensure_inside kubelet "$BIN/kubelet" --config "$STATE/node/kubelet.yaml" \
        --kubeconfig "$STATE/pki/kubelet.kubeconfig" --root-dir "$STATE/node/kubelet" \
        --hostname-override "$node_name" --node-ip "$node_address"
    ensure_inside kube-proxy "$BIN/kube-proxy" --kubeconfig "$STATE/pki/proxy.kubeconfig" \
        --hostname-override "$node_name" --proxy-mode nftables --cluster-cidr "$pod_range" \
        --conntrack-max-per-core 0 --conntrack-tcp-timeout-established 0 \
        --conntrack-tcp-timeout-close-wait 0
    wait_for "the node is ready" kubelet kube wait --for condition=Ready "node/$node_name" --timeout 2s
}

# Ends the node with all its pods. What only lives in its namespaces goes with them.
stop_node() {
    stop holder KILL
    for name in containerd kubelet kube-proxy; do stop "$name" KILL; done
    tries=0
    while [ -e "/sys/class/net/$interface" ] || ! remove_cgroups; do
        tries=$((tries + 1))
        [ "$tries" -gt 300 ] && die "the node's namespaces or cgroups do not go away"
        sleep 0.1
    done
    rm -rf "$STATE/node"
}

remove_cgroups() {
    find /sys/fs/cgroup -maxdepth 2 -type d -name "$cgroup" 2>/dev/null | while read -r group; do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    [ -z "$(find /sys/fs/cgroup -maxdepth 2 -type d -name "$cgroup" 2>/dev/null)" ]
}
