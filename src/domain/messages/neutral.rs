//! Takes the power out of foreign words: they may say what they like and do nothing.
//!
//! A forge acts on text: `@name` notifies, `closes #1` closes, an HTML comment
//! hides, and our own marks are HTML comments. Each is broken with a character
//! that is not seen (a word joiner) or by writing `<` as an entity. The words
//! stay readable and the result is the same however often it is done.

/// Not seen, joins what it stands between, and is part of no name or keyword.
const JOINER: char = '\u{2060}';

/// The words after which a forge closes an issue that is named next.
const CLOSING: [&str; 9] = [
    "close", "closes", "closed", "fix", "fixes", "fixed", "resolve", "resolves", "resolved",
];

/// The words without their power: no mention, no closing keyword, no reference to an issue,
/// no HTML (and so no mark of ours), no control characters.
pub fn neutralise(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut word = String::new();
    let mut previous = '\n';
    for c in text.chars().filter(|c| is_kept(*c)) {
        if c.is_ascii_alphanumeric() {
            word.push(c);
        } else {
            push_word(&mut out, &mut word);
        }
        match c {
            // A mention or a reference starts where a name or number may follow.
            '@' | '#' => {
                out.push(c);
                out.push(JOINER);
            }
            '<' => out.push_str("&lt;"),
            // `GH-1` is a reference too.
            '-' if previous.eq_ignore_ascii_case(&'h') && ends_with_gh(&out) => {
                out.push(JOINER);
                out.push(c);
            }
            _ if c.is_ascii_alphanumeric() => {}
            _ => out.push(c),
        }
        previous = c;
    }
    push_word(&mut out, &mut word);
    defused_urls(&out)
}

/// The words without marks of a prompt's blocks, and otherwise as they are: an agent is to read
/// what was written, HTML too, but nobody begins a block for it.
pub fn without_marks(text: &str) -> String {
    const OPEN: &str = "<!--";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(OPEN) {
        let (before, from) = rest.split_at(at);
        rest = &from[OPEN.len()..];
        out.push_str(before);
        out.push_str("<!");
        let word = rest.trim_start().get(.."block".len());
        if word.is_some_and(|word| word.eq_ignore_ascii_case("block")) {
            out.push(JOINER);
        }
        out.push_str("--");
    }
    out.push_str(rest);
    out
}

/// The same as [`neutralise`] in one line of at most so many characters, for titles.
pub fn one_line(text: &str, most: usize) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let neutral = neutralise(&flat);
    if neutral.chars().count() <= most {
        return neutral;
    }
    let mut cut: String = neutral.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// The same with its paragraphs, of at most so many characters before its power is taken.
pub(super) fn paragraphs(text: &str, most: usize) -> String {
    let text: String = text.chars().take(most).collect();
    neutralise(&text).trim().to_owned()
}

/// Control characters, joiners and what turns the reading direction are dropped: with them
/// a text could show something else than it says, and our own joiner is put in anew.
fn is_kept(c: char) -> bool {
    let invisible = matches!(c,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !invisible && (!c.is_control() || matches!(c, '\n' | '\t'))
}

/// A closing keyword loses its effect when a joiner stands inside it.
fn push_word(out: &mut String, word: &mut String) {
    let closes = CLOSING
        .iter()
        .any(|keyword| word.eq_ignore_ascii_case(keyword));
    for (index, c) in word.chars().enumerate() {
        if closes && index == 1 {
            out.push(JOINER);
        }
        out.push(c);
    }
    word.clear();
}

fn ends_with_gh(out: &str) -> bool {
    let mut last = out.chars().rev();
    matches!(last.next(), Some('h' | 'H'))
        && matches!(last.next(), Some('g' | 'G'))
        && !last.next().is_some_and(|c| c.is_ascii_alphanumeric())
}

/// `https://host/owner/name/issues/1` refers as `#1` does: the scheme is taken apart.
fn defused_urls(text: &str) -> String {
    let apart = format!(":{JOINER}//");
    text.replace("://", &apart)
}
