//! The cluster that runs work in.

use std::path::PathBuf;

use super::{Concern, Reader, value::PathText, variables as var};

/// The cluster and the names we use in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The kubeconfig file; `None` means the account of the pod we are in.
    pub kubeconfig: Option<PathBuf>,
    /// The context of that file; `None` means its current one.
    pub context: Option<String>,
    /// The platform's own namespace.
    pub platform_namespace: String,
    /// What the names of run namespaces start with.
    pub namespace_prefix: String,
    /// Ranges that no run may reach: API server and nodes.
    pub protected_cidrs: Vec<String>,
}

impl Concern for Cluster {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let kubeconfig = reader.optional::<PathText>(&var::KUBECONFIG);
        let context = reader.optional(&var::KUBE_CONTEXT);
        let platform_namespace = reader.required::<String>(&var::PLATFORM_NAMESPACE);
        let namespace_prefix = reader.required::<String>(&var::NAMESPACE_PREFIX);
        let protected_cidrs = reader.list::<String>(&var::PROTECTED_CIDRS);
        check_name(
            reader,
            &var::PLATFORM_NAMESPACE,
            platform_namespace.as_deref(),
            63,
        );
        // Project, issue and run must still fit behind the prefix.
        check_name(
            reader,
            &var::NAMESPACE_PREFIX,
            namespace_prefix.as_deref(),
            20,
        );
        for cidr in protected_cidrs.iter().flatten() {
            if !is_cidr(cidr) {
                reader.note(
                    &var::PROTECTED_CIDRS,
                    format!("`{cidr}` is not a range such as `10.0.0.0/8`"),
                );
            }
        }
        Some(Self {
            kubeconfig: kubeconfig?.map(|PathText(path)| path),
            context: context?,
            platform_namespace: platform_namespace?,
            namespace_prefix: namespace_prefix?,
            protected_cidrs: protected_cidrs?,
        })
    }
}

fn check_name(reader: &mut Reader<'_>, variable: &var::Variable, name: Option<&str>, most: usize) {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid = |name: &str| {
        (1..=most).contains(&name.len())
            && name.chars().all(|c| letter(c) || c == '-')
            && name.starts_with(letter)
            && name.ends_with(letter)
    };
    if let Some(name) = name.filter(|name| !valid(name)) {
        reader.note(
            variable,
            format!("`{name}` must be 1 to {most} lower-case letters, digits and inner dashes"),
        );
    }
}

/// Whether a text is an address with the length of its prefix.
pub(super) fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let Ok(address) = address.parse::<std::net::IpAddr>() else {
        return false;
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    length.parse::<u8>().is_ok_and(|length| length <= most)
}
