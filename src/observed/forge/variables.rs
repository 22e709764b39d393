//! Repository variables: the one that says whose the repository is, and those that hold the
//! catalogue's labels.

use std::time::Duration;

use super::{
    ahead::staggered,
    batch::MirrorBatch,
    memory::{Memory, is_due},
    reader::{Failure, Reader},
};
use crate::{
    domain::mirror::{OwnerMark, OwnerVariable, RepositoryMirror},
    forge::ForgeErrorKind,
};

/// The platform's variables begin so; others are none of its business.
const OURS: &str = "CODEXK8S_";

const FORBIDDEN: &str = "our credential may not read repository variables";

impl Reader<'_> {
    /// Reads whose the repository is. A credential that may not read variables
    /// is noted and stops nothing.
    pub(super) async fn read_owner_variable(
        &self,
        mirror: &mut RepositoryMirror,
        memory: &mut Memory,
        notes: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let now = self.began_at;
        let was_settled = matches!(
            mirror.owner_variable,
            OwnerVariable::Ours | OwnerVariable::Forbidden | OwnerVariable::Other { .. }
        );
        let every = match mirror.owner_variable {
            OwnerVariable::Ours | OwnerVariable::Forbidden => {
                let every = self.settings.owner_variable_every;
                let unread = || staggered(mirror.id(), every, now);
                memory.owner_read.get_or_insert_with(unread);
                every
            }
            OwnerVariable::Other { .. } => self.settings.sweep_every,
            OwnerVariable::Absent | OwnerVariable::Unread => Duration::ZERO,
        };
        if !is_due(memory.owner_read, every, now) {
            return Ok(());
        }
        let name = &self.settings.owner_variable_name;
        mirror.owner_variable = match self.forge.variable(&self.repository(), name).await {
            Ok(None) => OwnerVariable::Absent,
            Ok(Some(value)) => match OwnerMark::parse(&value).installation {
                ours if ours == self.installation.as_str() => OwnerVariable::Ours,
                installation => OwnerVariable::Other { installation },
            },
            Err(error) if error.kind == ForgeErrorKind::Forbidden => {
                notes.push(FORBIDDEN.to_owned());
                OwnerVariable::Forbidden
            }
            Err(error) => return Err(error.into()),
        };
        // Once it is settled the next read is due at a moment of its own within the interval.
        memory.owner_read = Some(if was_settled {
            now
        } else {
            staggered(mirror.id(), self.settings.owner_variable_every, now)
        });
        Ok(())
    }

    /// Whether the variables that are ours are to be read with this sweep: with the first read
    /// of a repository, and then as often as whose it is. They are a request for each.
    pub(super) fn are_variables_due(
        &self,
        before: Option<&RepositoryMirror>,
        memory: &mut Memory,
    ) -> bool {
        let (now, every) = (self.began_at, self.settings.owner_variable_every);
        let own_moment = || staggered(self.detection.id, every, now);
        if before.is_none_or(|mirror| !mirror.complete) {
            memory.variables_read = Some(own_moment());
            return true;
        }
        let due = is_due(
            Some(*memory.variables_read.get_or_insert_with(own_moment)),
            every,
            now,
        );
        if due {
            memory.variables_read = Some(now);
        }
        due
    }

    /// Reads the variables that are ours by name.
    pub(super) async fn read_variables(
        &self,
        mirror: &mut RepositoryMirror,
        batch: &mut MirrorBatch,
        notes: &mut Vec<String>,
    ) -> Result<(), Failure> {
        if mirror.owner_variable == OwnerVariable::Forbidden {
            return Ok(());
        }
        let repository = self.repository();
        match self.forge.variables(&repository).await {
            Ok(mut variables) => {
                variables.retain(|variable| variable.name.starts_with(OURS));
                batch.variables = Some((repository.id, variables));
            }
            Err(error) if error.kind == ForgeErrorKind::Forbidden => {
                notes.push(FORBIDDEN.to_owned());
                mirror.owner_variable = OwnerVariable::Forbidden;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
