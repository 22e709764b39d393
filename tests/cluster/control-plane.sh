# Starts etcd, API server, controller manager and scheduler. Sourced; needs
# `BIN`, `PODS`, `CONTROLLERS` and the cluster's numbers.
# shellcheck shell=sh

start_etcd() {
    client="http://127.0.0.1:$port_etcd"
    peer="http://127.0.0.1:$port_peer"
    # What is lost with the machine may be lost: no waiting for the disk.
    ensure etcd "$BIN/etcd" --data-dir "$STATE/etcd" --unsafe-no-fsync \
        --listen-client-urls "$client" --advertise-client-urls "$client" \
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
        --initial-cluster "default=$peer"
}

start_api_server() {
    pki="$STATE/pki"
    if [ "$PODS" = yes ]; then
        # Endpoints of the Service `kubernetes` are not made for a loopback address.
        set -- --bind-address 0.0.0.0 --advertise-address "$host_address"
    else
        set -- --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --endpoint-reconciler-type none
    fi
    ensure kube-apiserver "$BIN/kube-apiserver" "$@" --secure-port "$port_api" \
        --etcd-servers "http://127.0.0.1:$port_etcd" \
        --authorization-mode Node,RBAC --allow-privileged \
        --service-cluster-ip-range 10.0.0.0/24 \
        --service-account-issuer https://kubernetes.default.svc \
        --service-account-key-file "$pki/service-accounts.pub" \
        --service-account-signing-key-file "$pki/service-accounts.key" \
        --client-ca-file "$pki/ca.crt" \
        --tls-cert-file "$pki/api-server.crt" --tls-private-key-file "$pki/api-server.key" \
        --kubelet-client-certificate "$pki/api-client.crt" \
        --kubelet-client-key "$pki/api-client.key" \
        --kubelet-preferred-address-types InternalIP \
        --audit-policy-file "$here/audit-policy.yaml" \
        --audit-log-path "$STATE/audit.log" --audit-log-maxsize 100000
}

wait_for_api_server() {
    wait_for "the API server is ready" kube-apiserver kube get --raw /readyz
}

start_managers() {
    pki="$STATE/pki"
    ensure kube-controller-manager "$BIN/kube-controller-manager" \
        --kubeconfig "$pki/controller-manager.kubeconfig" \
        --use-service-account-credentials --leader-elect=false \
        --bind-address 127.0.0.1 --secure-port "$port_managers" \
        --kube-api-qps 300 --kube-api-burst 600 --concurrent-namespace-syncs 40 \
        --root-ca-file "$pki/ca.crt" \
        --service-account-private-key-file "$pki/service-accounts.key"
    ensure kube-scheduler "$BIN/kube-scheduler" --kubeconfig "$pki/scheduler.kubeconfig" \
        --leader-elect=false --bind-address 127.0.0.1 --secure-port "$port_scheduler"
}

# Starts what follows the API server and is there: controllers, scheduler, the node.
start_cluster_clients() {
    if [ "$CONTROLLERS" = yes ]; then
        start_managers
        wait_for "the controllers are at work" kube-controller-manager controllers_work
    fi
    [ "$PODS" = no ] || start_kubelet
}

# controllers_work: a new namespace gets its ServiceAccount, and goes when it is deleted.
controllers_work() {
    kube get serviceaccount default -o name || return 1
    kube get namespace codex-k8s-probe -o name || kube create namespace codex-k8s-probe
    kube get serviceaccount default --namespace codex-k8s-probe -o name || return 1
    kube delete namespace codex-k8s-probe --timeout 2s
}
