//! Network policies, evaluated as a network that enforces them does: nothing selected is
//! open, what is selected by any policy is closed but for what some policy lets through.
//!
//! *Caveats*: a field that is not known here fails the test, so that none is overlooked.

use std::net::IpAddr;

use serde_json::{Map, Value};

/// One end of a connection.
#[derive(Debug, Clone)]
pub(super) struct End {
    /// What the table calls it.
    pub(super) name: &'static str,
    pub(super) address: IpAddr,
    /// Its namespace with the namespace's labels, and its own labels and named ports; none
    /// outside of the cluster.
    pub(super) pod: Option<Pod>,
}

/// What of a pod policies look at.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) namespace_labels: Map<String, Value>,
    pub(super) labels: Map<String, Value>,
    pub(super) ports: Vec<(String, u64)>,
}

/// Whether a connection comes about: its source must be let out and its target let in.
pub(super) fn connects(
    policies: &[Value],
    from: &End,
    to: &End,
    (protocol, port): (&str, u64),
) -> bool {
    let passes = |of: &End, other: &End, direction: &str, rules: &str, peers: &str| {
        let Some(pod) = &of.pod else {
            return true;
        };
        let mut of_pod = policies
            .iter()
            .filter(|policy| selects(policy, pod) && directions(policy).contains(&direction))
            .peekable();
        if of_pod.peek().is_none() {
            return true;
        }
        of_pod.any(|policy| {
            let rules = policy["spec"][rules].as_array().into_iter().flatten();
            let mut rules = rules.inspect(|rule| knows(rule, &[peers, "ports"]));
            rules.any(|rule| {
                any(&rule[peers], |peer| matches(peer, pod, other))
                    && any(&rule["ports"], |it| opens(it, protocol, port, to))
            })
        })
    };
    passes(from, to, "Egress", "egress", "to") && passes(to, from, "Ingress", "ingress", "from")
}

/// Nothing in a list of conditions means no condition.
fn any(list: &Value, fits: impl FnMut(&Value) -> bool) -> bool {
    match list.as_array() {
        Some(list) if !list.is_empty() => list.iter().any(fits),
        _ => true,
    }
}

fn knows(object: &Value, fields: &[&str]) {
    for field in object.as_object().expect("an object").keys() {
        assert!(fields.contains(&field.as_str()), "{field} is not evaluated");
    }
}

fn selects(policy: &Value, pod: &Pod) -> bool {
    let spec = &policy["spec"];
    knows(spec, &["podSelector", "policyTypes", "ingress", "egress"]);
    policy["metadata"]["namespace"] == pod.namespace.as_str()
        && labelled(&spec["podSelector"], &pod.labels)
}

fn directions(policy: &Value) -> Vec<&str> {
    let types = policy["spec"]["policyTypes"].as_array();
    // The server fills them in by a rule of its own; ours always say.
    let types = types.expect("a policy says its directions");
    types.iter().filter_map(Value::as_str).collect()
}

fn labelled(selector: &Value, labels: &Map<String, Value>) -> bool {
    knows(selector, &["matchLabels"]);
    let wanted = selector["matchLabels"].as_object().into_iter().flatten();
    let mut wanted = wanted.into_iter();
    wanted.all(|(name, value)| labels.get(name) == Some(value))
}

/// Whether a peer of a policy in the pod's namespace is the other end.
fn matches(peer: &Value, own: &Pod, other: &End) -> bool {
    knows(peer, &["ipBlock", "namespaceSelector", "podSelector"]);
    if let Some(block) = peer.get("ipBlock") {
        knows(block, &["cidr", "except"]);
        let excepted = block["except"].as_array().into_iter().flatten();
        let mut excepted = excepted.into_iter();
        return within(other.address, &block["cidr"])
            && !excepted.any(|range| within(other.address, range));
    }
    let Some(pod) = &other.pod else {
        return false;
    };
    let place = match peer.get("namespaceSelector") {
        Some(selector) => labelled(selector, &pod.namespace_labels),
        None => pod.namespace == own.namespace,
    };
    let selected = peer.get("podSelector");
    place && selected.is_none_or(|selector| labelled(selector, &pod.labels))
}

fn within(address: IpAddr, range: &Value) -> bool {
    let (network, prefix) = range.as_str().unwrap().split_once('/').unwrap();
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => format!("4{:032b}", v4.to_bits()),
        IpAddr::V6(v6) => format!("6{:0128b}", v6.to_bits()),
    };
    let prefix: usize = prefix.parse().unwrap();
    let (network, address) = (bits(network.parse().unwrap()), bits(address));
    network[..=prefix] == address[..=prefix]
}

fn opens(rule: &Value, protocol: &str, port: u64, to: &End) -> bool {
    knows(rule, &["port", "protocol"]);
    let of_protocol = rule["protocol"].as_str().unwrap_or("TCP") == protocol;
    let number = match &rule["port"] {
        Value::Null => Some(port),
        Value::String(name) => {
            let pod = to.pod.as_ref();
            let named = pod.and_then(|pod| pod.ports.iter().find(|one| one.0 == *name));
            named.map(|one| one.1)
        }
        number => number.as_u64(),
    };
    of_protocol && number == Some(port)
}
