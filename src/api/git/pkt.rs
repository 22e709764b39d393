//! Git's packet lines, as far as a push needs them: the advertisement we send,
//! the commands we read, the report we answer.

use crate::domain::ids::CommitSha;

/// What we can do in a push. No deletions, no atomic pushes, no options.
const CAPABILITIES: &str = "report-status side-band-64k ofs-delta agent=codex-k8s";
/// The longest list of commands looked at: one command is all we take.
pub(crate) const MAX_COMMAND_BYTES: usize = 64 * 1024;
/// What fits into one packet of the side band.
const BAND_BYTES: usize = 65_515;
const FLUSH: &[u8] = b"0000";

/// One ref that a push wants to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefCommand {
    /// Where it stood; `None` where it is new.
    pub(crate) old: Option<CommitSha>,
    /// Where it shall stand; `None` deletes it.
    pub(crate) new: Option<CommitSha>,
    /// Its full name.
    pub(crate) reference: String,
}

/// The head of a push.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Commands {
    /// The refs, in order.
    pub(crate) refs: Vec<RefCommand>,
    /// Whether the answer goes through the side band.
    pub(crate) side_band: bool,
    /// Whether the pushing repository is a shallow one.
    pub(crate) shallow: bool,
}

/// The head of a push that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the push does not begin with ref commands")]
pub(crate) struct Malformed;

/// One packet.
pub(crate) fn packet(payload: &[u8]) -> Vec<u8> {
    let mut packet = format!("{:04x}", payload.len() + 4).into_bytes();
    packet.extend_from_slice(payload);
    packet
}

/// The advertisement of a push: refs by name, and commits that are here besides.
pub(crate) fn advertisement(refs: &[(String, CommitSha)], have: &[CommitSha]) -> Vec<u8> {
    let mut lines: Vec<String> = refs
        .iter()
        .map(|(name, at)| format!("{at} {name}"))
        .chain(have.iter().map(|at| format!("{at} .have")))
        .collect();
    if lines.is_empty() {
        lines.push(format!("{} capabilities^{{}}", "0".repeat(40)));
    }
    let mut out = packet(b"# service=git-receive-pack\n");
    out.extend_from_slice(FLUSH);
    for (at, line) in lines.iter().enumerate() {
        let text = if at == 0 {
            format!("{line}\0{CAPABILITIES}\n")
        } else {
            format!("{line}\n")
        };
        out.extend(packet(text.as_bytes()));
    }
    out.extend_from_slice(FLUSH);
    out
}

/// Reads the commands at the start of a push.
pub(crate) fn commands(mut input: &[u8]) -> Result<Commands, Malformed> {
    let mut commands = Commands::default();
    loop {
        let length = input
            .get(..4)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| usize::from_str_radix(digits, 16).ok())
            .ok_or(Malformed)?;
        if length == 0 {
            return Ok(commands);
        }
        let line = input.get(4..length).ok_or(Malformed)?;
        input = &input[length..];
        let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
        take_line(&mut commands, line.trim_end_matches('\n'))?;
    }
}

fn take_line(commands: &mut Commands, line: &str) -> Result<(), Malformed> {
    if line.starts_with("shallow ") {
        commands.shallow = true;
        return Ok(());
    }
    let (command, capabilities) = line.split_once('\0').unwrap_or((line, ""));
    if capabilities.split(' ').any(|word| word == "side-band-64k") {
        commands.side_band = true;
    }
    let mut words = command.splitn(3, ' ');
    let mut word = || words.next().ok_or(Malformed);
    let (old, new, reference) = (word()?, word()?, word()?);
    commands.refs.push(RefCommand {
        old: object(old)?,
        new: object(new)?,
        reference: reference.to_owned(),
    });
    Ok(())
}

fn object(text: &str) -> Result<Option<CommitSha>, Malformed> {
    if !super::super::run::is_commit(text) {
        return Err(Malformed);
    }
    let none = text.chars().all(|c| c == '0');
    Ok((!none).then(|| CommitSha::new(text)))
}

/// A sign of life on the side band.
pub(crate) fn keep_alive() -> Vec<u8> {
    b"0005\x01".to_vec()
}

/// The report of a push: every ref taken, or every ref refused for one reason, which git also
/// shows as `remote:` where the client has a side band.
pub(crate) fn report(commands: &Commands, refused: Option<&str>) -> Vec<u8> {
    let mut report = packet(b"unpack ok\n");
    for command in &commands.refs {
        let line = match refused {
            None => format!("ok {}\n", command.reference),
            Some(reason) => format!("ng {} {}\n", command.reference, one_line(reason)),
        };
        report.extend(packet(line.as_bytes()));
    }
    report.extend_from_slice(FLUSH);
    if !commands.side_band {
        return report;
    }
    let mut out = Vec::with_capacity(report.len() + 16);
    if let Some(reason) = refused {
        out.extend(packet(
            format!("\x02the push is refused: {}\n", one_line(reason)).as_bytes(),
        ));
    }
    for piece in report.chunks(BAND_BYTES) {
        let mut banded = vec![1];
        banded.extend_from_slice(piece);
        out.extend(packet(&banded));
    }
    out.extend_from_slice(FLUSH);
    out
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(400)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "1111111111111111111111111111111111111111";
    const NEW: &str = "2222222222222222222222222222222222222222";
    const NONE: &str = "0000000000000000000000000000000000000000";

    fn push(lines: &[String]) -> Vec<u8> {
        let mut out: Vec<u8> = lines.iter().flat_map(|l| packet(l.as_bytes())).collect();
        out.extend_from_slice(b"0000PACK");
        out
    }

    #[test]
    fn commands_are_read_up_to_the_pack() {
        let input = push(&[format!(
            "{OLD} {NEW} refs/heads/a\0 report-status side-band-64k agent=git/2"
        )]);
        let commands = commands(&input).unwrap();
        assert!(commands.side_band && !commands.shallow);
        assert_eq!(commands.refs[0].new, Some(CommitSha::new(NEW)));
        assert_eq!(commands.refs[0].reference, "refs/heads/a");
    }

    #[test]
    fn a_deletion_and_a_creation_show_as_none() {
        let input = push(&[
            format!("{OLD} {NONE} refs/heads/a\0report-status"),
            format!("{NONE} {NEW} refs/heads/b"),
        ]);
        let commands = commands(&input).unwrap();
        assert_eq!(commands.refs[0].new, None);
        assert_eq!(commands.refs[1].old, None);
    }

    #[test]
    fn a_lone_flush_is_no_command_and_noise_is_malformed() {
        assert_eq!(commands(b"0000").unwrap(), Commands::default());
        for bad in [&b"zzzz"[..], b"", b"00ff1", b"0003", b"0009hello"] {
            assert_eq!(commands(bad), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn a_refusal_is_one_line_whatever_its_reason_holds() {
        let input = push(&[format!("{OLD} {NEW} refs/heads/a\0report-status")]);
        let commands = commands(&input).unwrap();
        let report = String::from_utf8(report(&commands, Some("no\nok refs/heads/a"))).unwrap();
        assert!(
            report.contains("ng refs/heads/a no ok refs/heads/a\n"),
            "{report}"
        );
    }

    #[test]
    fn a_refusal_is_said_on_the_side_band_and_an_acceptance_is_not() {
        let input = push(&[format!(
            "{OLD} {NEW} refs/heads/a\0report-status side-band-64k"
        )]);
        let commands = commands(&input).unwrap();
        let refused = String::from_utf8(report(&commands, Some("no\u{1b}[2J"))).unwrap();
        let said = packet(b"\x02the push is refused: no [2J\n");
        assert!(refused.starts_with(std::str::from_utf8(&said).unwrap()));
        assert!(!report(&commands, None).contains(&2));
    }
}
