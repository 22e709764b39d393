//! Ceilings a platform sets and a project may only narrow: images, pod
//! security, egress, RBAC profiles, commands and workflow pushes.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agent::RbacProfile;

/// What agents of the installation may use at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Guardrails {
    /// Which images agents may run.
    pub images: Images,
    /// The pod security level that namespaces of runs enforce.
    pub pod_security: PodSecurity,
    /// Where pods of runs may connect to, beside DNS and the run API.
    pub egress: Egress,
    /// Which RBAC profiles agents may be given.
    pub rbac_profiles: BTreeSet<RbacProfile>,
    /// Which commands agents may run.
    pub commands: Commands,
    /// Whether agents may push changes to paths that the forge's CI executes.
    pub allow_workflow_pushes: bool,
    /// Whether agents' images are named by digest (`NAME[:TAG]@sha256:…`), so that what runs is
    /// what was looked at.
    pub require_image_digests: bool,
}

impl Default for Guardrails {
    fn default() -> Self {
        Self {
            images: Images::default(),
            pod_security: PodSecurity::Restricted,
            egress: Egress::default(),
            rbac_profiles: BTreeSet::from([
                RbacProfile::None,
                RbacProfile::Read,
                RbacProfile::Edit,
            ]),
            commands: Commands::default(),
            allow_workflow_pushes: false,
            require_image_digests: false,
        }
    }
}

/// What a project takes away from the platform's guardrails; what is not given stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Narrowing {
    /// Image prefixes, each inside one the platform allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<Images>,
    /// The same level as the platform's or a stricter one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_security: Option<PodSecurity>,
    /// Ranges, each inside one the platform allows; exceptions are added to the platform's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
    /// A subset of the platform's profiles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rbac_profiles: Option<BTreeSet<RbacProfile>>,
    /// A subset of the platform's commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commands: Option<Commands>,
    /// `false` forbids what the platform allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_workflow_pushes: Option<bool>,
    /// `true` asks for digests where the platform does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_image_digests: Option<bool>,
}

/// Which images may be run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Images {
    /// Image names or prefixes that end with `/`, such as `registry.example.org/agents/`. Empty allows none.
    #[serde(default)]
    pub allowed: Vec<String>,
}

impl Images {
    /// Whether an image (`NAME[:TAG][@DIGEST]`) is allowed.
    ///
    /// A prefix that does not end with `/` names one image exactly, with any
    /// tag, so that `agents/dev` does not admit `agents/development`.
    pub fn allow(&self, image: &str) -> bool {
        self.allowed.iter().any(|prefix| covers(prefix, image))
    }
}

/// Whether a prefix of an image list covers an image or a narrower prefix.
pub(crate) fn covers(prefix: &str, image: &str) -> bool {
    let Some(rest) = image.strip_prefix(prefix) else {
        return false;
    };
    prefix.ends_with('/') || rest.is_empty() || rest.starts_with(':') || rest.starts_with('@')
}

/// Whether an image is named by the SHA-256 of its manifest, whatever its tag.
pub(crate) fn is_pinned(image: &str) -> bool {
    let digest = image.rsplit_once("@sha256:").map(|(_, digest)| digest);
    digest.is_some_and(|digest| {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        digest.len() == 64 && digest.bytes().all(hex)
    })
}

/// A pod security level, from the strictest.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum PodSecurity {
    /// Kubernetes' `restricted`.
    Restricted,
    /// Kubernetes' `baseline`.
    Baseline,
    /// No restriction.
    Privileged,
}

impl PodSecurity {
    /// The value of the `pod-security.kubernetes.io/enforce` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restricted => "restricted",
            Self::Baseline => "baseline",
            Self::Privileged => "privileged",
        }
    }
}

/// Where pods may connect to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Egress {
    /// Ranges that may be reached, such as `203.0.113.0/24`. Empty allows none.
    pub cidrs: Vec<String>,
    /// Ranges inside them that may not: the API server, nodes and metadata services belong here.
    pub except_cidrs: Vec<String>,
}

/// Which commands agents may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Commands {
    /// First words of agent commands, such as `codex`. `*` allows any.
    pub allowed: BTreeSet<String>,
}

impl Default for Commands {
    fn default() -> Self {
        Self {
            allowed: BTreeSet::from(["codex".to_owned()]),
        }
    }
}

impl Commands {
    /// Whether a command is allowed.
    pub fn allow(&self, command: &[String]) -> bool {
        self.allowed.contains("*")
            || command
                .first()
                .is_some_and(|word| self.allowed.contains(word))
    }
}

impl Guardrails {
    /// What is left of them for a project.
    ///
    /// *Guarantees*: never wider than `self`, whatever the narrowing says; that
    /// it says nothing wider is checked when a commit is loaded.
    #[must_use]
    pub fn narrowed(&self, by: &Narrowing) -> Self {
        let images = match &by.images {
            Some(images) => Images {
                allowed: images
                    .allowed
                    .iter()
                    .filter(|inner| self.images.allowed.iter().any(|outer| covers(outer, inner)))
                    .cloned()
                    .collect(),
            },
            None => self.images.clone(),
        };
        let commands = match &by.commands {
            Some(commands) if self.commands.allowed.contains("*") => commands.clone(),
            Some(commands) => Commands {
                allowed: commands
                    .allowed
                    .intersection(&self.commands.allowed)
                    .cloned()
                    .collect(),
            },
            None => self.commands.clone(),
        };
        Self {
            images,
            pod_security: by
                .pod_security
                .map_or(self.pod_security, |level| level.min(self.pod_security)),
            egress: self.egress_narrowed(by),
            rbac_profiles: by.rbac_profiles.as_ref().map_or_else(
                || self.rbac_profiles.clone(),
                |profiles| {
                    profiles
                        .intersection(&self.rbac_profiles)
                        .copied()
                        .collect()
                },
            ),
            commands,
            allow_workflow_pushes: self.allow_workflow_pushes
                && by.allow_workflow_pushes.unwrap_or(true),
            require_image_digests: self.require_image_digests
                || by.require_image_digests.unwrap_or(false),
        }
    }

    fn egress_narrowed(&self, by: &Narrowing) -> Egress {
        let Some(egress) = &by.egress else {
            return self.egress.clone();
        };
        let mut except_cidrs = self.egress.except_cidrs.clone();
        for cidr in &egress.except_cidrs {
            if !except_cidrs.contains(cidr) {
                except_cidrs.push(cidr.clone());
            }
        }
        let inside = |inner: &&String| {
            self.egress
                .cidrs
                .iter()
                .any(|outer| cidr_covers(outer, inner))
        };
        Egress {
            cidrs: egress.cidrs.iter().filter(inside).cloned().collect(),
            except_cidrs,
        }
    }
}

/// A parsed range: its address bits, left-aligned in 128, its family and its prefix length.
fn cidr(text: &str) -> Option<(bool, u128, u32)> {
    let (address, length) = text.split_once('/')?;
    let length: u32 = length.parse().ok()?;
    match address.parse().ok()? {
        std::net::IpAddr::V4(v4) => {
            (length <= 32).then(|| (false, u128::from(v4.to_bits()) << 96, length))
        }
        std::net::IpAddr::V6(v6) => (length <= 128).then(|| (true, v6.to_bits(), length)),
    }
}

/// Whether a text is an IPv4 or IPv6 range, such as `203.0.113.0/24`.
pub(crate) fn is_cidr(text: &str) -> bool {
    cidr(text).is_some()
}

/// Whether the range `outer` contains the range `inner`.
pub(crate) fn cidr_covers(outer: &str, inner: &str) -> bool {
    let (Some((outer_v6, outer_bits, outer_length)), Some((inner_v6, inner_bits, inner_length))) =
        (cidr(outer), cidr(inner))
    else {
        return false;
    };
    let mask = if outer_length == 0 {
        0
    } else {
        u128::MAX << (128 - outer_length)
    };
    outer_v6 == inner_v6 && inner_length >= outer_length && outer_bits & mask == inner_bits & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_whole_names_only() {
        assert!(covers(
            "registry.example.org/agents/",
            "registry.example.org/agents/dev:1"
        ));
        assert!(covers("agents/dev", "agents/dev:1"));
        assert!(covers("agents/dev", "agents/dev@sha256:00"));
        assert!(!covers("agents/dev", "agents/development:1"));
        assert!(!covers(
            "registry.example.org/agents/",
            "registry.example.org/other/dev"
        ));
    }

    #[test]
    fn an_image_is_pinned_by_a_whole_digest_alone() {
        let digest = "0123456789abcdef".repeat(4);
        assert!(is_pinned(&format!("agents/dev@sha256:{digest}")));
        assert!(is_pinned(&format!(
            "example.org/agents/dev:1@sha256:{digest}"
        )));
        for image in ["agents/dev:1", "agents/dev@sha256:00", "agents/dev:sha256"] {
            assert!(!is_pinned(image), "{image}");
        }
        assert!(!is_pinned(&format!("dev@sha256:{}", digest.to_uppercase())));
        assert!(!is_pinned(&format!("dev@sha512:{digest}")));
    }

    #[test]
    fn ranges_contain_ranges_of_their_family() {
        assert!(cidr_covers("0.0.0.0/0", "203.0.113.0/24"));
        assert!(cidr_covers("203.0.113.0/24", "203.0.113.128/25"));
        assert!(!cidr_covers("203.0.113.0/24", "203.0.112.0/23"));
        assert!(!cidr_covers("203.0.113.0/24", "198.51.100.0/24"));
        assert!(!cidr_covers("0.0.0.0/0", "2001:db8::/32"));
        assert!(cidr_covers("2001:db8::/32", "2001:db8:1::/48"));
        assert!(!is_cidr("203.0.113.0/33") && !is_cidr("203.0.113.0"));
    }

    #[test]
    fn narrowing_never_widens() {
        let platform = Guardrails {
            require_image_digests: true,
            images: Images {
                allowed: vec!["example.org/agents/".into()],
            },
            ..Guardrails::default()
        };
        let narrowed = platform.narrowed(&Narrowing {
            images: Some(Images {
                allowed: vec!["example.org/agents/dev".into(), "evil.example/".into()],
            }),
            pod_security: Some(PodSecurity::Privileged),
            rbac_profiles: Some(BTreeSet::from([RbacProfile::Read, RbacProfile::Admin])),
            commands: Some(Commands {
                allowed: BTreeSet::from(["sh".into()]),
            }),
            allow_workflow_pushes: Some(true),
            require_image_digests: Some(false),
            egress: Some(Egress {
                cidrs: vec!["0.0.0.0/0".into()],
                except_cidrs: vec![],
            }),
        });
        assert_eq!(narrowed.images.allowed, ["example.org/agents/dev"]);
        assert_eq!(narrowed.pod_security, PodSecurity::Restricted);
        assert_eq!(narrowed.rbac_profiles, BTreeSet::from([RbacProfile::Read]));
        assert!(narrowed.commands.allowed.is_empty());
        assert!(!narrowed.allow_workflow_pushes && narrowed.require_image_digests);
        assert!(narrowed.egress.cidrs.is_empty());
    }
}
