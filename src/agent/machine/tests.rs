//! Properties of the runner's machine: whatever happens in whatever order.

use proptest::prelude::*;

use super::*;

fn end(status: ResultStatus) -> CommandEnd {
    CommandEnd {
        status,
        answer: Answer {
            summary: "done".to_owned(),
            ..Answer::default()
        },
        exit_code: Some(0),
    }
}

fn head() -> CommitSha {
    CommitSha::new("a".repeat(40))
}

fn interruption() -> impl Strategy<Value = Interruption> {
    let reason = || "why".to_owned();
    prop_oneof![
        Just(Interruption::Ordered { reason: reason() }),
        Just(Interruption::Refused { reason: reason() }),
        Just(Interruption::Silence),
        Just(Interruption::Signal),
        Just(Interruption::Broken { reason: reason() }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Started),
        any::<bool>().prop_map(|handed_in| Event::FactsRead { handed_in }),
        Just(Event::WorkspaceReady { finished: None }),
        Just(Event::WorkspaceReady {
            finished: Some(end(ResultStatus::Completed))
        }),
        Just(Event::SessionRestored),
        Just(Event::CommandEnded(end(ResultStatus::Completed))),
        Just(Event::Committed { head: None }),
        Just(Event::Committed { head: Some(head()) }),
        Just(Event::Pushed { head: head() }),
        Just(Event::PushRefused {
            reason: "moved".to_owned()
        }),
        Just(Event::SessionSaved),
        Just(Event::LogsFlushed),
        Just(Event::ResultTaken),
        Just(Event::NoticeGiven),
        Just(Event::SnapshotDue),
        interruption().prop_map(Event::Interrupted),
    ]
}

/// What an executor would report of an effect, well or badly done.
fn answer(effect: &Effect, well: bool) -> Option<Event> {
    Some(match effect {
        Effect::ReadFacts => Event::FactsRead { handed_in: false },
        Effect::PrepareWorkspace => Event::WorkspaceReady { finished: None },
        Effect::RestoreSession => Event::SessionRestored,
        Effect::StartCommand | Effect::EndCommand => {
            Event::CommandEnded(end(ResultStatus::Completed))
        }
        Effect::Commit => Event::Committed {
            head: well.then(head),
        },
        Effect::Push if well => Event::Pushed { head: head() },
        Effect::Push => Event::PushRefused {
            reason: "moved".to_owned(),
        },
        Effect::SaveSession => Event::SessionSaved,
        Effect::FlushLogs => Event::LogsFlushed,
        Effect::HandIn(_) => Event::ResultTaken,
        Effect::GiveNotice(_) => Event::NoticeGiven,
        Effect::StartHeartbeats | Effect::Abandon | Effect::Snapshot | Effect::Exit(_) => {
            return None;
        }
    })
}

fn all_effects(events: Vec<Event>) -> (State, Vec<Effect>) {
    let mut state = State::default();
    let mut all = Vec::new();
    for event in events {
        let (next, effects) = step(state, event);
        state = next;
        all.extend(effects);
    }
    (state, all)
}

fn count(effects: &[Effect], wanted: impl Fn(&Effect) -> bool) -> usize {
    effects.iter().filter(|effect| wanted(effect)).count()
}

proptest! {
    #[test]
    fn nothing_is_done_twice_and_nothing_after_the_end(
        events in proptest::collection::vec(event(), 0..60)
    ) {
        let (state, effects) = all_effects(events);
        prop_assert!(count(&effects, |e| *e == Effect::StartCommand) <= 1);
        prop_assert!(count(&effects, |e| *e == Effect::Commit) <= 1);
        prop_assert!(count(&effects, |e| matches!(e, Effect::HandIn(_))) <= 1);
        prop_assert!(count(&effects, |e| matches!(e, Effect::Exit(_))) <= 1);
        let exit = effects.iter().position(|e| matches!(e, Effect::Exit(_)));
        prop_assert_eq!(exit.is_some(), state.is_done());
        prop_assert!(exit.is_none_or(|at| at + 1 == effects.len()));
    }

    #[test]
    fn who_is_interrupted_hands_in_nothing_afterwards(
        before in proptest::collection::vec(event(), 0..30),
        cause in interruption(),
        after in proptest::collection::vec(event(), 0..30),
    ) {
        let mut state = State::default();
        for event in before {
            state = step(state, event).0;
        }
        state = step(state, Event::Interrupted(cause)).0;
        for event in after {
            let (next, effects) = step(state, event);
            state = next;
            let handed = effects.iter().any(|e| matches!(e, Effect::HandIn(_)));
            prop_assert!(!handed);
            prop_assert!(!effects.contains(&Effect::StartCommand));
        }
    }

    #[test]
    fn every_way_through_ends(
        well in any::<bool>(),
        at in 0usize..20,
        cause in proptest::option::of(interruption()),
    ) {
        let mut state = State::default();
        let mut queue = std::collections::VecDeque::from([Event::Started]);
        let mut cause = cause;
        let mut handed_in = false;
        for turn in 0..60 {
            if turn == at && let Some(cause) = cause.take() {
                queue.push_front(Event::Interrupted(cause));
            }
            let Some(event) = queue.pop_front() else { break };
            let (next, effects) = step(state, event);
            state = next;
            for effect in &effects {
                if *effect == Effect::Abandon {
                    queue.clear();
                }
                handed_in |= matches!(effect, Effect::HandIn(_));
                queue.extend(answer(effect, well));
            }
        }
        prop_assert!(state.is_done());
        prop_assert!(handed_in || state.interruption.is_some());
    }
}

#[test]
fn a_finished_command_is_not_run_again_after_a_restart() {
    let (_, effects) = all_effects(vec![
        Event::Started,
        Event::FactsRead { handed_in: false },
        Event::WorkspaceReady {
            finished: Some(end(ResultStatus::Completed)),
        },
    ]);
    assert_eq!(effects.last(), Some(&Effect::Commit));
    assert!(!effects.contains(&Effect::StartCommand));
}

#[test]
fn a_refused_push_becomes_a_failed_result_without_a_head() {
    let (_, effects) = all_effects(vec![
        Event::Started,
        Event::FactsRead { handed_in: false },
        Event::WorkspaceReady { finished: None },
        Event::SessionRestored,
        Event::CommandEnded(end(ResultStatus::Completed)),
        Event::Committed { head: Some(head()) },
        Event::PushRefused {
            reason: "not yours".to_owned(),
        },
        Event::SessionSaved,
        Event::LogsFlushed,
    ]);
    let Some(Effect::HandIn(record)) = effects.last() else {
        panic!("no result: {effects:?}");
    };
    assert_eq!(record.status, ResultStatus::Failed);
    assert_eq!(record.head, None);
    assert!(record.answer.summary.contains("not yours"));
}

#[test]
fn a_result_that_is_there_ends_the_runner_at_once() {
    let (state, effects) = all_effects(vec![Event::Started, Event::FactsRead { handed_in: true }]);
    assert!(state.is_done());
    assert_eq!(effects.last(), Some(&Effect::Exit(Exit::HandedIn)));
}
