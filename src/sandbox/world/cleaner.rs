//! The last one out: a small process that waits at a pipe only we hold open, and
//! when we have gone, in whatever way, ends what we would have ended.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

const SCRIPT: &str = r#"
folder=$1; keep=$2
read -r _
for file in "$folder"/*.pid; do
    [ -f "$file" ] && kill -KILL "$(cat "$file")"
done
[ -n "$keep" ] || rm -rf -- "$folder"
"#;

/// The process. Dropping it lets it do its work and waits for that.
#[derive(Debug)]
pub(super) struct Cleaner(Child);

impl Cleaner {
    /// Starts it for a world's folder, which is removed in the end unless it is to be kept.
    pub(super) fn start(folder: &Path, keep: bool) -> std::io::Result<Self> {
        Command::new("/bin/sh")
            .args(["-c", SCRIPT, "codex-k8s-cleaner"])
            .arg(folder)
            .arg(if keep { "keep" } else { "" })
            // Out of reach of Ctrl-C.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Nothing is left to do where waiting fails: it cleans up all the same.
        let _ = self.0.wait();
    }
}
