//! The words themselves: one enum, one text each in every language.
//!
//! A text may hold `{}` once; [`Word::with`] fills it. Both languages hold it
//! or neither does (held by a test).

use super::Language;

/// One text of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter)]
pub(super) enum Word {
    StatusTitle,
    Run,
    Trigger,
    Agent,
    Model,
    Reasoning,
    State,
    Branch,
    PullRequest,
    Timeline,
    WhatYouCanDo,
    Summary,
    Tests,
    Questions,
    Reason,
    Config,
    StateQueued,
    StateHeld,
    StateStarting,
    StateRunning,
    StateWaiting,
    StateStopping,
    StateSucceeded,
    StateSucceededNoChange,
    StateFailed,
    StateTimedOut,
    StateCancelledLabel,
    StateCancelledClosed,
    StateCancelledOther,
    StateRejected,
    StepQueued,
    StepStarted,
    StepAttempt,
    StepFinished,
    StepCleaned,
    DoQueued,
    DoRunning,
    DoClose,
    DoStopping,
    DoReview,
    DoNoChange,
    DoAgain,
    DoReopen,
    ConflictTitle,
    ConflictBody,
    ConflictAsk,
    ConflictResolved,
    BlockedTitle,
    BlockedBody,
    BlockedAsk,
    BlockedResolved,
    StageMissingBody,
    StageMissingAsk,
    RefusedTitle,
    RefusedNoRights,
    RefusedContentChanged,
    RefusedNoPullRequest,
    RefusedNotRevisable,
    RefusedReviewTitle,
    AskAnew,
    AskRights,
    AskRelabel,
    AskStart,
    PullRequestIntro,
    PullRequestFacts,
    PullRequestNotice,
    PullRequestTitle,
    PartOf,
    NoSummary,
}

/// A text with its one place filled.
pub(super) fn filled(text: &str, value: &str) -> String {
    text.replacen("{}", value, 1)
}

impl Word {
    /// The text in a language.
    pub(super) fn text(self, language: Language) -> &'static str {
        match language {
            Language::English => self.english(),
            Language::Russian => self.russian(),
        }
    }

    /// The text with its one place filled.
    pub(super) fn with(self, language: Language, value: &str) -> String {
        filled(self.text(language), value)
    }

    fn english(self) -> &'static str {
        match self {
            Self::StatusTitle => "Agent run: {}",
            Self::Run => "Run",
            Self::Trigger => "Trigger",
            Self::Agent => "Agent",
            Self::Model => "Model",
            Self::Reasoning => "Reasoning",
            Self::State => "State",
            Self::Branch => "Branch",
            Self::PullRequest => "Pull request",
            Self::Timeline => "Timeline",
            Self::WhatYouCanDo => "What you can do",
            Self::Summary => "Summary",
            Self::Tests => "What was tried out",
            Self::Questions => "Questions for people",
            Self::Reason => "Reason",
            Self::Config => "Config",
            Self::StateQueued => "queued",
            Self::StateHeld => "held back",
            Self::StateStarting => "starting",
            Self::StateRunning => "working",
            Self::StateWaiting => "waiting for an answer",
            Self::StateStopping => "stopping",
            Self::StateSucceeded => "succeeded",
            Self::StateSucceededNoChange => "succeeded, nothing had to be changed",
            Self::StateFailed => "failed",
            Self::StateTimedOut => "timed out",
            Self::StateCancelledLabel => "cancelled: the label was removed",
            Self::StateCancelledClosed => "cancelled: the issue was closed",
            Self::StateCancelledOther => "cancelled",
            Self::StateRejected => "rejected before its start",
            Self::StepQueued => "came into the queue",
            Self::StepStarted => "started",
            Self::StepAttempt => "attempt {} started",
            Self::StepFinished => "finished",
            Self::StepCleaned => "workspace deleted",
            Self::DoQueued => {
                "Nothing: it starts by itself when there is room. Remove the label {} to take it back."
            }
            Self::DoRunning => "Wait, or remove the label {} to stop it.",
            Self::DoClose => "Wait, or close the issue to take it back.",
            Self::DoStopping => "Wait until it has ended; a new start waits for that.",
            Self::DoReview => {
                "Review the pull request. To have it revised, request changes and add the label {}."
            }
            Self::DoNoChange => {
                "Say in the issue what is still missing, and add the label {} again."
            }
            Self::DoAgain => "Mend the cause if it is yours, and add the label {} to start again.",
            Self::DoReopen => "Reopen the issue and add the label {} to start again.",
            Self::ConflictTitle => "These labels contradict each other",
            Self::ConflictBody => "On this issue stand labels that ask for different work: {}.",
            Self::ConflictAsk => {
                "Nothing starts until only one of them is left. Remove the others; the one that stays starts by itself."
            }
            Self::ConflictResolved => {
                "The labels contradicted each other; that is settled. Now in force: {}."
            }
            Self::BlockedTitle => "This issue is blocked",
            Self::BlockedBody => "The label {} stands in the way of what was asked for.",
            Self::BlockedAsk => {
                "Remove it when the issue may go on; the work starts by itself then."
            }
            Self::BlockedResolved => "The issue was blocked; that is over.",
            Self::StageMissingBody => {
                "What was asked for comes after the stage {}, which has not succeeded on this issue."
            }
            Self::StageMissingAsk => {
                "Have that done first ({}); what was asked for starts by itself then."
            }
            Self::RefusedTitle => "The label {} was not accepted",
            Self::RefusedNoRights => {
                "Whoever put it on may not start this work: it takes a role in the project that allows it, and write access to the repository."
            }
            Self::RefusedContentChanged => {
                "Title or text of the issue were changed after the label by someone who may not start this work, or it cannot be told by whom."
            }
            Self::RefusedNoPullRequest => {
                "There is no open pull request of ours here that could be revised."
            }
            Self::RefusedNotRevisable => "The work of this stage is not revised after a review.",
            Self::RefusedReviewTitle => "This review starts no work",
            Self::AskAnew => "Put the stage's label on the issue again to have its work done anew.",
            Self::AskRights => "Ask a member of the project to put the label on.",
            Self::AskRelabel => {
                "Read the text as it is now; if it says what is wanted, remove the label and add it again."
            }
            Self::AskStart => "Start with the label of the first stage instead.",
            Self::PullRequestIntro => {
                "This pull request was made by an agent. Review it as you would any other."
            }
            Self::PullRequestFacts => "How it came about",
            Self::PullRequestNotice => {
                "The summary is the agent's own; mentions and commands in it were defused."
            }
            Self::PullRequestTitle => "Work on issue {}",
            Self::PartOf => "Part of #{}",
            Self::NoSummary => "The agent left no summary.",
        }
    }

    fn russian(self) -> &'static str {
        match self {
            Self::StatusTitle => "Запуск агента: {}",
            Self::Run => "Запуск",
            Self::Trigger => "Метка запуска",
            Self::Agent => "Агент",
            Self::Model => "Модель",
            Self::Reasoning => "Глубина рассуждений",
            Self::State => "Состояние",
            Self::Branch => "Ветка",
            Self::PullRequest => "Пул-реквест",
            Self::Timeline => "Ход работы",
            Self::WhatYouCanDo => "Что можно сделать",
            Self::Summary => "Итог",
            Self::Tests => "Что проверено",
            Self::Questions => "Вопросы к людям",
            Self::Reason => "Причина",
            Self::Config => "Конфигурация",
            Self::StateQueued => "в очереди",
            Self::StateHeld => "придержан",
            Self::StateStarting => "запускается",
            Self::StateRunning => "работает",
            Self::StateWaiting => "ждёт ответа",
            Self::StateStopping => "останавливается",
            Self::StateSucceeded => "завершён успешно",
            Self::StateSucceededNoChange => "завершён успешно, менять ничего не пришлось",
            Self::StateFailed => "завершился ошибкой",
            Self::StateTimedOut => "время истекло",
            Self::StateCancelledLabel => "отменён: метка снята",
            Self::StateCancelledClosed => "отменён: задача закрыта",
            Self::StateCancelledOther => "отменён",
            Self::StateRejected => "отклонён до старта",
            Self::StepQueued => "поставлен в очередь",
            Self::StepStarted => "начат",
            Self::StepAttempt => "начата попытка {}",
            Self::StepFinished => "закончен",
            Self::StepCleaned => "рабочее пространство удалено",
            Self::DoQueued => {
                "Ничего: запуск начнётся сам, когда появится место. Чтобы отказаться от него, снимите метку {}."
            }
            Self::DoClose => "Подождите или закройте задачу, чтобы отказаться от этого.",
            Self::DoRunning => "Подождите или снимите метку {}, чтобы остановить работу.",
            Self::DoStopping => "Дождитесь завершения: новый запуск начнётся только после него.",
            Self::DoReview => {
                "Проверьте пул-реквест. Чтобы его доработали, запросите изменения и поставьте метку {}."
            }
            Self::DoNoChange => "Опишите в задаче, чего не хватает, и снова поставьте метку {}.",
            Self::DoAgain => {
                "Устраните причину, если она на вашей стороне, и поставьте метку {}, чтобы начать заново."
            }
            Self::DoReopen => "Откройте задачу снова и поставьте метку {}, чтобы начать заново.",
            Self::ConflictTitle => "Метки противоречат друг другу",
            Self::ConflictBody => "На этой задаче стоят метки, которые требуют разной работы: {}.",
            Self::ConflictAsk => {
                "Ничего не начнётся, пока не останется одна. Снимите лишние: оставшаяся сработает сама."
            }
            Self::ConflictResolved => {
                "Метки противоречили друг другу; это улажено. Теперь действует: {}."
            }
            Self::BlockedTitle => "Задача заблокирована",
            Self::BlockedBody => "Метка {} не даёт начать то, о чём просили.",
            Self::BlockedAsk => "Снимите её, когда можно продолжать: работа начнётся сама.",
            Self::BlockedResolved => "Задача была заблокирована; теперь это не так.",
            Self::StageMissingBody => {
                "То, о чём просили, идёт после этапа {}, а он на этой задаче ещё не пройден."
            }
            Self::StageMissingAsk => {
                "Сначала пройдите его ({}): то, о чём просили, начнётся после этого само."
            }
            Self::RefusedTitle => "Метка {} не принята",
            Self::RefusedNoRights => {
                "Тот, кто её поставил, не может начинать эту работу: нужна роль в проекте, которая это разрешает, и право записи в репозиторий."
            }
            Self::RefusedContentChanged => {
                "Заголовок или текст задачи изменены после метки тем, кто не может начинать эту работу, или неизвестно кем."
            }
            Self::RefusedNoPullRequest => {
                "Здесь нет нашего открытого пул-реквеста, который можно доработать."
            }
            Self::RefusedNotRevisable => "Работа этого этапа по рецензии не дорабатывается.",
            Self::RefusedReviewTitle => "Эта рецензия не начинает работу",
            Self::AskAnew => "Поставьте на задачу метку этапа ещё раз, чтобы выполнить его заново.",
            Self::AskRights => "Попросите участника проекта поставить метку.",
            Self::AskRelabel => {
                "Прочитайте текст, каким он стал; если всё верно, снимите метку и поставьте её снова."
            }
            Self::AskStart => "Начните с метки первого этапа.",
            Self::PullRequestIntro => {
                "Этот пул-реквест создан агентом. Проверяйте его так же, как любой другой."
            }
            Self::PullRequestFacts => "Как он появился",
            Self::PullRequestNotice => {
                "Итог написан самим агентом; упоминания и команды в нём обезврежены."
            }
            Self::PullRequestTitle => "Работа над задачей {}",
            Self::PartOf => "Часть работы по #{}",
            Self::NoSummary => "Агент не оставил итога.",
        }
    }
}
