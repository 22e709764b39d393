//! Who pods of a run may talk to: nobody, then a list.
//!
//! Policies are additive, so each opening is a policy of its own beside the
//! one that denies everything. Host names cannot be allowed here; they go
//! through the proxy.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::cidr::Cidr;
use super::input::{DnsTarget, Egress, EgressRule, NetworkTarget, Port, Protocol, RunEnvironment};
use super::metadata::Marks;

/// The policy that denies everything.
const DEFAULT_DENY: &str = "codex-default-deny";

/// The policies of a run namespace, the denying one first.
pub(super) fn network_policies(
    environment: &RunEnvironment,
    marks: &Marks<'_>,
) -> Vec<NetworkPolicy> {
    let deny = policy(
        environment,
        marks,
        DEFAULT_DENY,
        &["Ingress", "Egress"],
        None,
    );
    let openings = openings(&environment.egress)
        .into_iter()
        .map(|(name, rules)| policy(environment, marks, name, &["Egress"], Some(rules)));
    std::iter::once(deny).chain(openings).collect()
}

/// The names of those policies.
pub(super) fn policy_names(egress: &Egress) -> impl Iterator<Item = &'static str> {
    let openings = openings(egress).into_iter().map(|(name, _)| name);
    std::iter::once(DEFAULT_DENY).chain(openings)
}

/// What is opened beside the policy that denies everything, by the policy's name.
fn openings(egress: &Egress) -> Vec<(&'static str, Vec<NetworkPolicyEgressRule>)> {
    let mut openings = vec![
        ("codex-egress-dns", vec![dns_rule(&egress.dns)]),
        ("codex-egress-run-api", vec![target_rule(&egress.run_api)]),
    ];
    if let Some(proxy) = &egress.proxy {
        openings.push(("codex-egress-proxy", vec![target_rule(proxy)]));
    }
    let ranges: Vec<_> = egress
        .allow
        .iter()
        .filter_map(|rule| range_rule(egress, rule))
        .collect();
    if !ranges.is_empty() {
        openings.push(("codex-egress-ranges", ranges));
    }
    openings
}

fn policy(
    environment: &RunEnvironment,
    marks: &Marks<'_>,
    name: &str,
    directions: &[&str],
    egress: Option<Vec<NetworkPolicyEgressRule>>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: marks.namespaced(&environment.namespace, name),
        spec: Some(NetworkPolicySpec {
            // The empty selector means every pod of the namespace.
            pod_selector: Some(LabelSelector::default()),
            policy_types: Some(directions.iter().map(|text| (*text).to_owned()).collect()),
            egress,
            ..NetworkPolicySpec::default()
        }),
    }
}

fn dns_rule(dns: &DnsTarget) -> NetworkPolicyEgressRule {
    let port = |protocol| port_rule(Port { protocol, port: 53 });
    NetworkPolicyEgressRule {
        to: Some(vec![pods_peer(&dns.namespace_labels, &dns.pod_labels)]),
        ports: Some(vec![port(Protocol::Udp), port(Protocol::Tcp)]),
    }
}

fn target_rule(target: &NetworkTarget) -> NetworkPolicyEgressRule {
    let (peer, port) = match target {
        NetworkTarget::Range { cidr, port } => (range_peer(cidr, &[]), *port),
        NetworkTarget::Pods {
            namespace_labels,
            pod_labels,
            port,
        } => (pods_peer(namespace_labels, pod_labels), *port),
    };
    NetworkPolicyEgressRule {
        to: Some(vec![peer]),
        ports: Some(vec![port_rule(Port {
            protocol: Protocol::Tcp,
            port,
        })]),
    }
}

/// The rule of an allowed range without the ranges cut out of it; `None` where
/// nothing of it is left. Kubernetes wants every exception inside its range.
fn range_rule(egress: &Egress, rule: &EgressRule) -> Option<NetworkPolicyEgressRule> {
    let all: Vec<Cidr> = [&rule.except[..], &egress.except[..], &Cidr::LINK_LOCAL[..]].concat();
    if all.iter().any(|except| except.contains(&rule.cidr)) {
        return None;
    }
    let mut inside: Vec<Cidr> = all
        .into_iter()
        .filter(|except| rule.cidr.contains(except))
        .collect();
    inside.sort();
    inside.dedup();
    let ports: Vec<_> = rule.ports.iter().copied().map(port_rule).collect();
    Some(NetworkPolicyEgressRule {
        to: Some(vec![range_peer(&rule.cidr, &inside)]),
        ports: (!ports.is_empty()).then_some(ports),
    })
}

fn range_peer(cidr: &Cidr, except: &[Cidr]) -> NetworkPolicyPeer {
    let except: Vec<String> = except.iter().map(Cidr::to_string).collect();
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: cidr.to_string(),
            except: (!except.is_empty()).then_some(except),
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn pods_peer(
    namespace_labels: &BTreeMap<String, String>,
    pod_labels: &BTreeMap<String, String>,
) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(selector(namespace_labels)),
        pod_selector: (!pod_labels.is_empty()).then(|| selector(pod_labels)),
        ..NetworkPolicyPeer::default()
    }
}

fn selector(labels: &BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels.clone()),
        ..LabelSelector::default()
    }
}

fn port_rule(port: Port) -> NetworkPolicyPort {
    let protocol: &'static str = port.protocol.into();
    NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(port.port))),
        protocol: Some(protocol.to_owned()),
        ..NetworkPolicyPort::default()
    }
}
