//! The catalogue is whole in every language, and foreign words have no power in it.

use std::collections::BTreeSet;

use proptest::prelude::*;
use strum::IntoEnumIterator as _;

use super::{approval::AskWord, catalogue::Word, words::Catalogue, *};
use crate::domain::{
    Timestamp,
    answer::{Answer, AnswerPart, AskedPart},
    forge::ForgeKind,
    ids::{AgentKey, CommitSha, IssueNumber, LabelName, RepositoryId, RunId, Subject},
    marker::{comment_marker, runs_marked_in},
    tools::{ToolGrant, ToolName},
    trigger::{RefusalReason, TriggerIdentity, TriggerSource},
};

fn locales() -> [Locale; 2] {
    [Locale::from("en"), Locale::from("ru")]
}

fn run() -> RunId {
    RunId(uuid::Uuid::from_u128(7))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

fn status(phase: Phase) -> StatusComment {
    StatusComment {
        run: run(),
        label: Some("run:dev".into()),
        start_label: None,
        revise_label: Some("run:dev:revise".into()),
        agent: Some(AgentKey::from("developer")),
        model: Some("large".to_owned()),
        reasoning: None,
        runtime_mode: Some("full-env".to_owned()),
        namespace: Some("codex-issue-12".to_owned()),
        branch: None,
        pull_request: None,
        leaves: Leaves::Changes,
        phase,
        asked: Vec::new(),
        timeline: vec![TimelineEntry {
            at: Some(at(0)),
            step: TimelineStep::Queued,
        }],
    }
}

fn phases() -> Vec<Phase> {
    let reason = || "because".to_owned();
    vec![
        Phase::Queued,
        Phase::Held { reason: reason() },
        Phase::Starting,
        Phase::Running,
        Phase::Waiting,
        Phase::Stopping {
            cause: Some(StopCause::LabelRemoved),
        },
        Phase::Succeeded {
            answer: Some(said(&reason())),
        },
        Phase::Failed {
            reason: reason(),
            answer: None,
        },
        Phase::TimedOut,
        Phase::Cancelled {
            cause: StopCause::LabelRemoved,
        },
        Phase::Cancelled {
            cause: StopCause::Closed,
        },
        Phase::Cancelled {
            cause: StopCause::Other,
        },
        Phase::Rejected { reason: reason() },
    ]
}

#[test]
fn every_word_has_its_own_text_in_every_language_with_the_same_places() {
    fn all<W: Catalogue + strum::IntoEnumIterator + std::fmt::Debug>()
    -> Vec<(String, Vec<&'static str>)> {
        let texts = |word: W| {
            Language::iter()
                .map(|language| word.text(language))
                .collect()
        };
        W::iter()
            .map(|word| (format!("{word:?}"), texts(word)))
            .collect()
    }
    let catalogues = [
        all::<Word>(),
        all::<AskWord>(),
        all::<super::learning::Word>(),
        all::<super::answers::Word>(),
        all::<super::asked::Word>(),
        all::<super::rules::Word>(),
        all::<super::tools::Word>(),
    ];
    for (word, texts) in catalogues.concat() {
        let places: BTreeSet<_> = texts
            .iter()
            .map(|text| text.matches("{}").count())
            .collect();
        assert_eq!(places.len(), 1, "{word}");
        assert!(places.iter().all(|count| *count <= 1), "{word}");
        assert_eq!(
            texts.iter().collect::<BTreeSet<_>>().len(),
            texts.len(),
            "{word}"
        );
        assert!(texts.iter().all(|text| !text.trim().is_empty()), "{word}");
    }
}

#[test]
fn a_locale_that_is_not_spoken_gets_english() {
    let comment = status(Phase::Queued);
    let english = status_comment(&comment, &Locale::from("en"));
    assert_eq!(status_comment(&comment, &Locale::from("fr-CA")), english);
    let russian = status_comment(&comment, &Locale::from("ru"));
    assert_eq!(status_comment(&comment, &Locale::from("ru-RU")), russian);
    assert_ne!(english, russian);
}

#[test]
fn each_phase_says_something_else_and_keeps_the_mark_at_the_end() {
    for locale in locales() {
        let bodies: BTreeSet<String> = phases()
            .into_iter()
            .map(|phase| status_comment(&status(phase), &locale))
            .collect();
        assert_eq!(bodies.len(), phases().len());
        let mark = comment_marker(&status_comment_key(&run()));
        for body in bodies {
            assert!(body.trim_end().ends_with(&mark), "{body}");
            assert!(body.contains(&run().to_string()), "{body}");
            assert!(!body.contains("{}"), "{body}");
        }
    }
}

#[test]
fn a_finished_run_reads_like_this() {
    let mut comment = status(Phase::Succeeded {
        answer: Some(said("Added it, @ada.")),
    });
    comment.branch = Some("codex/issue-12".into());
    comment.pull_request = Some(IssueNumber(13));
    for (seconds, step) in [
        (5, TimelineStep::Started),
        (9, TimelineStep::Attempt(2)),
        (60, TimelineStep::Finished),
        (65, TimelineStep::Cleaned),
    ] {
        comment.timeline.push(TimelineEntry {
            at: Some(at(seconds)),
            step,
        });
    }
    let expected = "### Agent run: succeeded\n\n\
        | | |\n|---|---|\n\
        | Run | `00000000-0000-0000-0000-000000000007` |\n\
        | Trigger | `run:dev` |\n\
        | Agent | `developer` |\n\
        | Model | `large` |\n\
        | Mode | `full-env` |\n\
        | Namespace | `codex-issue-12` |\n\
        | State | succeeded |\n\
        | Branch | `codex/issue-12` |\n\
        | Pull request | #13 |\n\
        \n**Summary:** Added it, @\u{2060}ada.\n\
        \n**Timeline:**\n\n\
        - 2023-11-14 22:13:20 UTC – came into the queue\n\
        - 2023-11-14 22:13:25 UTC – started\n\
        - 2023-11-14 22:13:29 UTC – attempt 2 started\n\
        - 2023-11-14 22:14:20 UTC – finished\n\
        - 2023-11-14 22:14:25 UTC – workspace deleted\n\
        \n**What you can do:** Review the pull request. To have it revised, request changes and add the label `run:dev:revise`.\n\
        \n<!-- codex-k8s:comment:run/00000000-0000-0000-0000-000000000007/status -->\n";
    assert_eq!(status_comment(&comment, &Locale::from("en")), expected);
}

#[test]
fn what_no_pull_request_shows_stands_whole_in_the_comment() {
    let summary = format!(
        "## Two ways\n\n- one, see @grace\n\n{}",
        "word ".repeat(200)
    );
    let answer = Answer {
        questions: vec!["Which?".to_owned()],
        ..said(&summary)
    };
    let failed = Phase::Failed {
        reason: "the agent gave up".to_owned(),
        answer: Some(answer.clone()),
    };
    for phase in [
        Phase::Succeeded {
            answer: Some(answer),
        },
        failed,
    ] {
        let mut comment = status(phase);
        comment.leaves = Leaves::Reply;
        let text = status_comment(&comment, &Locale::from("en"));
        let whole = neutral::paragraphs(&summary, usize::MAX);
        assert!(
            text.contains(&format!("\n**Summary:**\n\n{whole}\n")),
            "{text}"
        );
        assert!(
            text.contains("- Which?") && !text.contains("@grace"),
            "{text}"
        );
    }
}

#[test]
fn a_run_without_a_pull_request_is_told_by_what_it_was_to_leave() {
    let state = |leaves, questions: &[&str]| {
        let answer = Answer {
            questions: questions.iter().map(ToString::to_string).collect(),
            ..said("So it is.")
        };
        let mut comment = status(Phase::Succeeded {
            answer: Some(answer),
        });
        comment.leaves = leaves;
        status_comment(&comment, &Locale::from("ru"))
    };
    for (leaves, questions, title, advice) in [
        (
            Leaves::Reply,
            &["?"][..],
            "ответ дан",
            "Продолжайте комментарием.",
        ),
        (Leaves::Words, &[], "завершён успешно", "чего не хватает"),
        (
            Leaves::Changes,
            &[],
            "менять ничего не пришлось",
            "чего не хватает",
        ),
        (
            Leaves::Changes,
            &["?"],
            "есть вопросы к людям",
            "Ответьте на вопросы",
        ),
    ] {
        let text = state(leaves, questions);
        let first = text.lines().next().unwrap();
        assert!(first.ends_with(title), "{text}");
        assert!(text.contains(advice), "{text}");
    }
}

fn subject() -> Subject {
    Subject {
        repository: RepositoryId(5),
        number: IssueNumber(12),
    }
}

#[test]
fn a_conflict_names_its_labels_whatever_their_order_until_it_is_settled() {
    let comment = |labels: &[&str], state| ConflictComment {
        subject: subject(),
        labels: labels.iter().map(|label| LabelName::from(*label)).collect(),
        state,
    };
    let open = |labels: &[&str]| comment(labels, ConflictState::Open);
    for locale in locales() {
        let both = open(&["run:qa", "run:dev"]);
        let body = conflict_comment(&both, &locale);
        assert_eq!(
            body,
            conflict_comment(&open(&["run:dev", "run:qa"]), &locale)
        );
        assert!(body.contains("`run:dev`, `run:qa`"), "{body}");
        let mark = comment_marker(&conflict_comment_key(&both));
        assert!(body.contains(&mark), "{body}");
        let left = Some(LabelName::from("run:qa"));
        for state in [
            ConflictState::Over { left },
            ConflictState::Over { left: None },
            ConflictState::Replaced,
        ] {
            let named =
                state != ConflictState::Replaced && state != (ConflictState::Over { left: None });
            let said = conflict_comment(&comment(&["run:dev", "run:qa"], state), &locale);
            assert_eq!(said.contains("`run:qa`"), named, "{said}");
            assert!(!said.contains("###") && said.contains(&mark), "{said}");
        }
        let three = conflict_comment(&open(&["run:dev", "run:qa", "run:plan"]), &locale);
        assert!(!three.contains(&mark), "{three}");
    }
}

#[test]
fn a_block_names_its_label_until_it_is_gone() {
    for locale in locales() {
        let there = BlockedComment {
            subject: subject(),
            obstacle: Some(Obstacle::Label("state:blocked".into())),
        };
        let gone = BlockedComment {
            obstacle: None,
            ..there.clone()
        };
        assert!(blocked_comment(&there, &locale).contains("`state:blocked`"));
        assert!(!blocked_comment(&gone, &locale).contains("state:blocked"));
    }
}

#[test]
fn strangers_bots_old_labels_and_foreign_repositories_are_never_answered() {
    let answered = |reason| {
        let comment = RefusalComment {
            trigger: TriggerIdentity {
                forge: ForgeKind::Github,
                repository: RepositoryId(5),
                source: TriggerSource::Label,
                source_id: "9".to_owned(),
            },
            number: IssueNumber(12),
            label: "run:dev".into(),
            reason,
        };
        locales().map(|locale| refusal_comment(&comment, &locale).is_some())
    };
    for reason in [
        RefusalReason::PullRequestClosed,
        RefusalReason::ForeignText,
        RefusalReason::NotConfigured,
        RefusalReason::ContentChanged,
        RefusalReason::NoPullRequest,
    ] {
        assert_eq!(answered(reason), [true, true]);
    }
    for reason in [
        RefusalReason::NoRights,
        RefusalReason::Bot,
        RefusalReason::Historical,
        RefusalReason::Unbound,
        RefusalReason::Consumed,
    ] {
        assert_eq!(answered(reason), [false, false]);
    }
}

#[test]
fn what_the_config_asks_for_again_and_again_is_answered_once() {
    let keys = ["nightly@1", "nightly@2"].map(|tick| {
        let comment = RefusalComment {
            trigger: TriggerIdentity {
                forge: ForgeKind::Github,
                repository: RepositoryId(5),
                source: TriggerSource::Schedule,
                source_id: tick.to_owned(),
            },
            number: IssueNumber(12),
            label: "run:dev".into(),
            reason: RefusalReason::ForeignText,
        };
        let (key, body) = refusal_comment(&comment, &Locale::from("en")).unwrap();
        assert!(
            body.ends_with(&format!("{}\n", comment_marker(&key))),
            "{body}"
        );
        key
    });
    assert_eq!(keys[0], keys[1]);
}

fn body(summary: &str) -> PullRequestBody {
    PullRequestBody {
        run: run(),
        issue: IssueNumber(12),
        closes_issue: true,
        label: Some("run:dev".into()),
        agent: AgentKey::from("developer"),
        model: None,
        config_sha: CommitSha::from("abc"),
        answer: said(summary),
        asked: Vec::new(),
    }
}

#[test]
fn what_a_stage_asks_for_stands_under_its_title_and_has_no_power() {
    let asked = |name: &str, list| AskedPart {
        name: name.to_owned(),
        title: format!("The {name}"),
        list,
        required: false,
    };
    let items = ["see @grace".to_owned(), "Fixes #3\n## Big".to_owned()];
    let parts = [
        ("cause", AnswerPart::Text("It was\n\nCloses #3.".to_owned())),
        ("actions", AnswerPart::List(items.into())),
    ];
    let answer = Answer {
        parts: parts.map(|(name, part)| (name.to_owned(), part)).into(),
        ..said("Done.")
    };
    let asked = vec![
        asked("actions", true),
        asked("cause", false),
        asked("rest", true),
    ];
    let pull = PullRequestBody {
        answer: answer.clone(),
        asked: asked.clone(),
        ..body("")
    };
    let text = pull_request_body(&pull, &Locale::from("en"));
    let (actions, cause) = (text.find("### The actions"), text.find("### The cause"));
    assert!(actions.is_some() && actions < cause, "{text}");
    assert!(
        !text.contains("The rest") && !text.contains("@grace"),
        "{text}"
    );
    assert_eq!(text.matches("Closes #").count(), 1, "ours: {text}");
    assert!(!text.contains("\n## Big"), "{text}");
    // Where a pull request has it, the status comment does not say it again.
    let mut comment = status(Phase::Succeeded {
        answer: Some(answer),
    });
    comment.asked = asked;
    let text = status_comment(&comment, &Locale::from("en"));
    assert!(text.contains("**The cause:**"), "{text}");
    comment.pull_request = Some(IssueNumber(4));
    let text = status_comment(&comment, &Locale::from("en"));
    assert!(!text.contains("The cause"), "{text}");
}

fn said(summary: &str) -> Answer {
    Answer {
        summary: summary.to_owned(),
        ..Answer::default()
    }
}

#[test]
fn a_pull_request_closes_its_own_issue_and_carries_its_run() {
    for locale in locales() {
        let text = pull_request_body(&body("Fixes #99 <!-- codex-k8s:run:x --> @grace"), &locale);
        assert_eq!(text.matches("Closes #12\n").count(), 1, "{text}");
        assert_eq!(runs_marked_in(&text), [run()]);
        assert!(!text.contains("#99") && !text.contains("@grace"), "{text}");
    }
    assert!(pull_request_body(&body("  "), &locales()[0]).contains("left no summary"));
}

#[test]
fn a_pull_request_of_a_stage_among_others_closes_nothing_and_shows_what_is_open() {
    let mut body = body("Wrote the brief.");
    body.closes_issue = false;
    body.answer.tests = Some("Read it twice.".to_owned());
    body.answer.questions = vec!["Who pays?\nCloses #3".to_owned()];
    for locale in locales() {
        let text = pull_request_body(&body, &locale);
        assert!(!text.contains("Closes #"), "{text}");
        assert!(
            text.contains("#12\n\n### ") && text.contains("Read it twice."),
            "{text}"
        );
        assert!(text.contains("\n- Who pays? "), "{text}");
    }
}

#[test]
fn a_title_is_one_harmless_line_and_never_empty() {
    let english = Locale::from("en");
    let title = |agent, issue| pull_request_title(agent, issue, IssueNumber(12), &english);
    assert_eq!(title(Some("Add\n a page"), "x"), "Add a page");
    assert_eq!(title(Some(" \u{200b}"), "The issue"), "The issue");
    assert_eq!(title(None, ""), "Work on issue 12");
    let long = "word ".repeat(100);
    assert_eq!(title(Some(&long), "").chars().count(), 120);
    assert!(!title(Some("fixes #1"), "").contains("fixes #1"));
}

/// What a forge would act on, found the slow way and apart from the code under test.
fn powers(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    for (index, c) in chars.iter().enumerate() {
        let next = chars.get(index + 1);
        if matches!(c, '@' | '#') && next.is_some_and(char::is_ascii_alphanumeric) {
            found.push(format!("{c}{next:?}"));
        }
    }
    let lower = text.to_lowercase();
    for keyword in ["close", "fix", "resolve"] {
        for ending in ["", "s", "d", "es", "ed"] {
            let word = format!("{keyword}{ending}");
            let words = lower.split(|c: char| !c.is_alphanumeric() && c != '\u{2060}');
            if words.into_iter().any(|found| found == word) && word != "fixs" && word != "fixd" {
                found.push(word);
            }
        }
    }
    found.extend(
        ["<!--", "<", "://", "gh-"]
            .into_iter()
            .filter(|p| lower.contains(p))
            .map(str::to_owned),
    );
    found
}

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("@".to_owned()),
        Just("#".to_owned()),
        Just("closes".to_owned()),
        Just("FIXED".to_owned()),
        Just("Resolve".to_owned()),
        Just(" ".to_owned()),
        Just(": ".to_owned()),
        Just("<!--".to_owned()),
        Just("-->".to_owned()),
        Just("\u{2060}".to_owned()),
        Just("\u{200b}".to_owned()),
        Just("gh".to_owned()),
        Just("-".to_owned()),
        Just("12".to_owned()),
        Just("https://".to_owned()),
        Just("&lt;".to_owned()),
        Just("\u{7}".to_owned()),
        "[a-zA-Zё]{0,4}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn neutral_words_have_no_power(text in hostile()) {
        let neutral = neutralise(&text);
        // A word may legitimately hold `gh-` inside another, such as `high-`.
        let left: Vec<_> = powers(&neutral)
            .into_iter()
            .filter(|power| power != "gh-" || neutral.to_lowercase().split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|word| word.starts_with("gh-")))
            .collect();
        prop_assert!(left.is_empty(), "{left:?} left in {neutral:?}");
        prop_assert!(runs_marked_in(&neutral).is_empty());
    }

    #[test]
    fn neutral_words_stay_as_they_are(text in hostile()) {
        let once = neutralise(&text);
        prop_assert_eq!(neutralise(&once), once);
    }

    #[test]
    fn harmless_words_are_not_touched(text in "[a-bA-B0-9 .,;!?()*_\n]{0,80}") {
        prop_assert_eq!(neutralise(&text), text);
    }

    #[test]
    fn a_title_keeps_its_length(text in any::<String>(), most in 1_usize..200) {
        let title = one_line(&text, most);
        prop_assert!(title.chars().count() <= most);
        prop_assert!(!title.contains('\n'));
    }
}

#[test]
fn foreign_words_begin_no_block_and_stay_as_they_are_otherwise() {
    let joined = "<!\u{2060}--";
    for (text, wanted) in [
        (
            "a <!-- block: policy --> b",
            format!("a {joined} block: policy --> b"),
        ),
        (
            "<!--\n BLOCK:x --><!--block-->",
            format!("{joined}\n BLOCK:x -->{joined}block-->"),
        ),
        (
            "<!-- describe --> @ada #1",
            "<!-- describe --> @ada #1".to_owned(),
        ),
        ("<!--", "<!--".to_owned()),
    ] {
        assert_eq!(without_marks(text), wanted);
    }
}

#[test]
fn the_tools_of_a_prompt_are_those_of_the_grant() {
    let mut grant = ToolGrant {
        tools: ToolName::iter().collect(),
        requests: ["run:qa".into()].into(),
        labels: ["need:qa".into()].into(),
        reserved: ["state:blocked".into()].into(),
        patterns: ["area/*".to_owned()].into(),
    };
    for locale in locales() {
        let whole = tools_block(&locale, &grant);
        for tool in ToolName::iter() {
            assert!(whole.contains(&format!("`{tool}`")), "{whole}");
        }
        for label in ["`run:qa`", "`area/*`, `need:qa`"] {
            assert!(whole.contains(label), "{whole}");
        }
        assert!(!whole.contains("state:blocked"), "{whole}");
    }
    let english = Locale::from("en");
    grant.tools = [ToolName::LabelsList].into();
    let shown = tools_block(&english, &grant);
    assert!(
        !shown.contains("run:qa") && !shown.contains("need:qa"),
        "{shown}"
    );
    grant.tools.clear();
    assert_eq!(tools_block(&english, &grant), "");
}
