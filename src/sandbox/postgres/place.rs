//! Where a private Postgres keeps its data, and as whom it runs.

use std::{
    fs,
    io::Write,
    os::unix::{
        fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use sha2::Digest;
use uuid::Uuid;

use super::{PostgresError, folder};

/// The account that the server runs as: ours, or another one where we are root.
pub(super) struct Runner {
    account: Option<(u32, u32)>,
}

impl Runner {
    /// Finds the account.
    pub(super) fn find() -> Result<Self, PostgresError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self { account: None });
        }
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let account = ["postgres", "nobody"]
            .iter()
            .find_map(|name| account(&accounts, name))
            .ok_or(PostgresError::NoUser)?;
        Ok(Self {
            account: Some(account),
        })
    }

    /// Lets a program run as that account, without any other group.
    pub(super) fn apply(&self, command: &mut Command) {
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
    }

    fn own(&self, path: &Path) -> Result<(), PostgresError> {
        let Some((user, group)) = self.account else {
            return Ok(());
        };
        chown(path, Some(user), Some(group)).map_err(|source| folder(path, source))
    }

    fn reaches(&self, path: &Path) -> bool {
        let Some((user, _)) = self.account else {
            return true;
        };
        path.ancestors().skip(1).all(|dir| {
            fs::metadata(dir).is_ok_and(|meta| meta.mode() & 0o001 != 0 || meta.uid() == user)
        })
    }
}

fn account(accounts: &str, name: &str) -> Option<(u32, u32)> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let mut numbers = fields.skip(1).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    })
}

/// The folder of a private Postgres: data, log and password.
pub(super) struct Place {
    pub(super) root: PathBuf,
    pub(super) temporary: bool,
}

impl Place {
    /// Makes the folder where it is absent. One that the server's account cannot reach, such as
    /// one below root's home, is put under `/var/tmp` instead, always at the same place.
    pub(super) fn prepare(data_dir: Option<&Path>, runner: &Runner) -> Result<Self, PostgresError> {
        let Some(wanted) = data_dir else {
            let root = std::env::temp_dir().join(format!("codex-k8s-postgres-{}", Uuid::new_v4()));
            fs::create_dir(&root).map_err(|source| folder(&root, source))?;
            return Self::secure(root, true, runner);
        };
        let wanted = std::path::absolute(wanted).map_err(|source| folder(wanted, source))?;
        if let Some(parent) = wanted.parent() {
            fs::create_dir_all(parent).map_err(|source| folder(parent, source))?;
        }
        let root = if runner.reaches(&wanted) {
            wanted
        } else {
            let hash = hex::encode(sha2::Sha256::digest(wanted.as_os_str().as_encoded_bytes()));
            PathBuf::from(format!("/var/tmp/codex-k8s-postgres-{}", &hash[..16]))
        };
        match fs::create_dir(&root) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(folder(&root, error))
            }
            Ok(()) | Err(_) => Self::secure(root, false, runner),
        }
    }

    fn secure(root: PathBuf, temporary: bool, runner: &Runner) -> Result<Self, PostgresError> {
        let meta = fs::symlink_metadata(&root).map_err(|source| folder(&root, source))?;
        let ours = rustix::process::geteuid().as_raw();
        let theirs = runner.account.map_or(ours, |(user, _)| user);
        if !meta.is_dir() || ![ours, theirs].contains(&meta.uid()) {
            let error = std::io::Error::other("it is not a folder of ours");
            return Err(folder(&root, error));
        }
        runner.own(&root)?;
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700))
            .map_err(|source| folder(&root, source))?;
        let place = Self { root, temporary };
        place.make_password(runner)?;
        Ok(place)
    }

    /// The file with the superuser's password.
    pub(super) fn password_file(&self) -> PathBuf {
        self.root.join("password")
    }

    /// The superuser's password.
    pub(super) fn password(&self) -> Result<String, PostgresError> {
        let file = self.password_file();
        fs::read_to_string(&file).map_err(|source| folder(&file, source))
    }

    fn make_password(&self, runner: &Runner) -> Result<(), PostgresError> {
        let file = self.password_file();
        let options = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file);
        match options {
            Ok(mut handle) => {
                handle
                    .write_all(Uuid::new_v4().simple().to_string().as_bytes())
                    .map_err(|source| folder(&file, source))?;
                runner.own(&file)
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(folder(&file, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_from_the_list() {
        let list = "root:x:0:0:root:/root:/bin/sh\npostgres:x:104:109:,,,:/var/lib:/bin/sh\n";
        assert_eq!(account(list, "postgres"), Some((104, 109)));
        assert_eq!(account(list, "nobody"), None);
    }
}
