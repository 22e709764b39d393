//! What the runner does next: a pure state machine.
//!
//! *Invariants*: one step is under way at a time; the command is started at most
//! once; a result is handed in only after commit and push; who was interrupted
//! hands in nothing. An event that does not fit the phase is late and changes
//! nothing.

use serde::{Deserialize, Serialize};

use crate::domain::{
    answer::Answer,
    fact::{ResultRecord, ResultStatus},
    ids::CommitSha,
};

/// How the agent command ended, in words of the result record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandEnd {
    /// Whether it did its work.
    pub status: ResultStatus,
    /// What it says.
    #[serde(flatten)]
    pub answer: Answer,
    /// Its exit code; `None` after a signal.
    pub exit_code: Option<i32>,
}

/// Why the runner ends without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interruption {
    /// The platform says so.
    Ordered {
        /// Why.
        reason: String,
    },
    /// The platform does not take this attempt.
    Refused {
        /// Its words.
        reason: String,
    },
    /// No heartbeat was accepted for too long.
    Silence,
    /// A signal.
    Signal,
    /// A step failed for good.
    Broken {
        /// What failed.
        reason: String,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The runner began.
    Started,
    /// The facts are known.
    FactsRead {
        /// Whether this attempt's result is there already.
        handed_in: bool,
    },
    /// The run's branch is checked out.
    WorkspaceReady {
        /// How the command ended before the runner was killed, if it did.
        finished: Option<CommandEnd>,
    },
    /// The session to go on from is in its place, or there is none.
    SessionRestored,
    /// The command and all it started have ended.
    CommandEnded(CommandEnd),
    /// What was left uncommitted is committed.
    Committed {
        /// The head, where the branch holds anything beyond its base.
        head: Option<CommitSha>,
    },
    /// The forge has the head.
    Pushed {
        /// The head, which a rebase may have changed.
        head: CommitSha,
    },
    /// The push was refused for good.
    PushRefused {
        /// Why.
        reason: String,
    },
    /// The session is saved, or cannot be.
    SessionSaved,
    /// The logs are handed in, or cannot be.
    LogsFlushed,
    /// The result is handed in.
    ResultTaken,
    /// The notice is given, or cannot be.
    NoticeGiven,
    /// It is time for a session snapshot.
    SnapshotDue,
    /// Something ends the runner early.
    Interrupted(Interruption),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Read the facts.
    ReadFacts,
    /// Begin to send heartbeats.
    StartHeartbeats,
    /// Check out the run's branch.
    PrepareWorkspace,
    /// Bring the session into its place.
    RestoreSession,
    /// Start the command.
    StartCommand,
    /// End the command: politely, then not.
    EndCommand,
    /// Give up the step that is under way.
    Abandon,
    /// Commit what is left uncommitted.
    Commit,
    /// Push the head.
    Push,
    /// Save the session beside the running command.
    Snapshot,
    /// Save the session.
    SaveSession,
    /// Hand in what logs are left.
    FlushLogs,
    /// Hand in the result.
    HandIn(ResultRecord),
    /// Say that the runner ends without a result.
    GiveNotice(String),
    /// End the process.
    Exit(Exit),
}

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The result is handed in.
    HandedIn,
    /// By order.
    Stopped,
    /// Out of silence.
    Silence,
    /// A step failed.
    Broken,
    /// The attempt is not taken.
    Refused,
    /// By a signal.
    Signal,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::HandedIn => 0,
            Self::Stopped => 3,
            Self::Silence => 4,
            Self::Broken => 5,
            Self::Refused => 6,
            Self::Signal => 143,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Begin,
    Facts,
    Workspace,
    Session,
    Command,
    Ending,
    Commit,
    Push,
    Save,
    Flush,
    HandIn,
    Notice,
    Done,
}

/// Where the runner stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    phase: Phase,
    interruption: Option<Interruption>,
    finished: Option<CommandEnd>,
    head: Option<CommitSha>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            phase: Phase::Begin,
            interruption: None,
            finished: None,
            head: None,
        }
    }
}

impl State {
    /// Whether the runner has nothing left to do.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    fn to(mut self, phase: Phase, effect: Effect) -> (Self, Vec<Effect>) {
        self.phase = phase;
        (self, vec![effect])
    }

    fn exit(self, exit: Exit) -> (Self, Vec<Effect>) {
        self.to(Phase::Done, Effect::Exit(exit))
    }
}

/// One event in, the next state and what to do out.
pub fn step(mut state: State, event: Event) -> (State, Vec<Effect>) {
    match (state.phase, event) {
        (Phase::Done, _) => (state, Vec::new()),
        (_, Event::Interrupted(interruption)) => interrupted(state, interruption),
        (Phase::Begin, Event::Started) => state.to(Phase::Facts, Effect::ReadFacts),
        (Phase::Facts, Event::FactsRead { handed_in: true })
        | (Phase::HandIn, Event::ResultTaken) => state.exit(Exit::HandedIn),
        (Phase::Facts, Event::FactsRead { handed_in: false }) => {
            state.phase = Phase::Workspace;
            let effects = vec![Effect::StartHeartbeats, Effect::PrepareWorkspace];
            (state, effects)
        }
        (Phase::Workspace, Event::WorkspaceReady { finished: None }) => {
            state.to(Phase::Session, Effect::RestoreSession)
        }
        (Phase::Workspace, Event::WorkspaceReady { finished }) => {
            state.finished = finished;
            state.to(Phase::Commit, Effect::Commit)
        }
        (Phase::Session, Event::SessionRestored) => state.to(Phase::Command, Effect::StartCommand),
        (Phase::Command, Event::SnapshotDue) => (state, vec![Effect::Snapshot]),
        (Phase::Command, Event::CommandEnded(end)) => {
            state.finished = Some(end);
            state.to(Phase::Commit, Effect::Commit)
        }
        (Phase::Ending, Event::CommandEnded(_)) => state.to(Phase::Save, Effect::SaveSession),
        (Phase::Commit, Event::Committed { head: None }) => {
            state.to(Phase::Save, Effect::SaveSession)
        }
        (Phase::Commit, Event::Committed { head }) => {
            state.head = head;
            state.to(Phase::Push, Effect::Push)
        }
        (Phase::Push, Event::Pushed { head }) => {
            state.head = Some(head);
            state.to(Phase::Save, Effect::SaveSession)
        }
        (Phase::Push, Event::PushRefused { reason }) => {
            push_refused(&mut state, &reason);
            state.to(Phase::Save, Effect::SaveSession)
        }
        (Phase::Save, Event::SessionSaved) => state.to(Phase::Flush, Effect::FlushLogs),
        (Phase::Flush, Event::LogsFlushed) => flushed(state),
        (Phase::Notice, Event::NoticeGiven) => leave(state),
        (_, _late) => (state, Vec::new()),
    }
}

fn push_refused(state: &mut State, reason: &str) {
    state.head = None;
    if let Some(end) = &mut state.finished {
        end.status = ResultStatus::Failed;
        end.answer.summary = format!("The push was refused: {reason}\n\n{}", end.answer.summary);
    }
}

/// An early end, by what is under way.
fn interrupted(mut state: State, interruption: Interruption) -> (State, Vec<Effect>) {
    if state.interruption.is_some() {
        return (state, Vec::new());
    }
    state.interruption = Some(interruption);
    match state.phase {
        Phase::Begin | Phase::Facts | Phase::HandIn => {
            let (state, mut effects) = leave(state);
            effects.insert(0, Effect::Abandon);
            (state, effects)
        }
        Phase::Command => state.to(Phase::Ending, Effect::EndCommand),
        Phase::Workspace | Phase::Session => {
            state.phase = Phase::Flush;
            (state, vec![Effect::Abandon, Effect::FlushLogs])
        }
        Phase::Commit | Phase::Push => {
            state.phase = Phase::Save;
            (state, vec![Effect::Abandon, Effect::SaveSession])
        }
        // These are short and lead to the end by themselves.
        Phase::Ending | Phase::Save | Phase::Flush | Phase::Notice | Phase::Done => {
            (state, Vec::new())
        }
    }
}

fn flushed(state: State) -> (State, Vec<Effect>) {
    let notice = match &state.interruption {
        Some(Interruption::Silence) => "no heartbeat was accepted for too long",
        Some(Interruption::Signal) => "the runner was told to end by a signal",
        Some(Interruption::Broken { reason }) => reason,
        Some(Interruption::Ordered { .. } | Interruption::Refused { .. }) => return leave(state),
        None => return hand_in(state),
    };
    let notice = Effect::GiveNotice(notice.to_owned());
    state.to(Phase::Notice, notice)
}

fn hand_in(state: State) -> (State, Vec<Effect>) {
    let Some(end) = state.finished.clone() else {
        return state.exit(Exit::Broken);
    };
    let record = ResultRecord {
        status: end.status,
        answer: end.answer,
        head: state.head.clone(),
        exit_code: end.exit_code,
    };
    state.to(Phase::HandIn, Effect::HandIn(record))
}

fn leave(state: State) -> (State, Vec<Effect>) {
    let exit = match &state.interruption {
        None => Exit::HandedIn,
        Some(Interruption::Ordered { .. }) => Exit::Stopped,
        Some(Interruption::Refused { .. }) => Exit::Refused,
        Some(Interruption::Silence) => Exit::Silence,
        Some(Interruption::Signal) => Exit::Signal,
        Some(Interruption::Broken { .. }) => Exit::Broken,
    };
    state.exit(exit)
}

#[cfg(test)]
mod tests;
