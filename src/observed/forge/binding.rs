//! What a detection means for a binding: whether the name in the config still
//! leads to the repository that was pinned, and whose it is. Pure.

use crate::{
    domain::{ids::RepositoryId, mirror::RepositoryMirror},
    forge::Detection,
};

use super::report::RepositoryBinding;

/// What a binding comes to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Binding {
    /// Nothing is bound yet: pin what was detected.
    First,
    /// It is the repository that was pinned.
    Pinned(Box<RepositoryMirror>),
    /// The name leads to another repository by now: nothing is read or written.
    Changed {
        /// The pinned id.
        pinned: RepositoryId,
        /// Why, for people.
        reason: String,
    },
    /// The repository is another project's.
    Foreign {
        /// Why, for people.
        reason: String,
    },
}

/// Judges one binding. `claims` are all bindings with the id their names lead
/// to, in the config's order: the project that has a repository keeps it, a
/// new one goes to the first that names it.
pub(super) fn judge(
    binding: &RepositoryBinding,
    detection: &Detection,
    mirrors: &[RepositoryMirror],
    claims: &[(RepositoryBinding, RepositoryId)],
) -> Binding {
    let pinned = mirrors
        .iter()
        .find(|mirror| mirror.project == binding.project && mirror.configured_name == binding.name);
    if let Some(pinned) = pinned.filter(|pinned| pinned.id() != detection.id) {
        let reason = format!(
            "identity changed: {} was repository {} and is {} now",
            binding.name,
            pinned.id(),
            detection.id
        );
        let pinned = pinned.id();
        return Binding::Changed { pinned, reason };
    }
    let known = mirrors.iter().find(|mirror| mirror.id() == detection.id);
    let claimants: Vec<&RepositoryBinding> = claims
        .iter()
        .filter(|(_, id)| *id == detection.id)
        .map(|(claimant, _)| claimant)
        .collect();
    let keeper = claimants
        .iter()
        .copied()
        .find(|claimant| known.is_some_and(|known| known.project == claimant.project))
        .or_else(|| claimants.first().copied());
    if let Some(keeper) = keeper.filter(|keeper| *keeper != binding) {
        let reason = format!("the repository belongs to project {}", keeper.project);
        return Binding::Foreign { reason };
    }
    match known {
        None => Binding::First,
        Some(known) => {
            let mut mirror = known.clone();
            mirror.project = binding.project.clone();
            mirror.configured_name = binding.name.clone();
            mirror.adopt_existing = binding.adopt_existing;
            Binding::Pinned(Box::new(mirror))
        }
    }
}
