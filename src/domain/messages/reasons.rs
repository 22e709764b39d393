//! Reasons of ours in other languages.
//!
//! A run's reason is written in English where it arises, and is its own message id, as with
//! gettext: `{}` stands for what belongs to the case, such as a commit, and is taken over or
//! put into the language itself where it is a reason again. What no entry knows (an agent's or
//! a forge's words) stays as it is.

use super::Language;
use crate::domain::ids::Locale;

/// English and Russian, with as many places, in the same order.
const REASONS: &[(&str, &str)] = &[
    ("the label was taken off", "метка снята"),
    ("the issue was closed", "задача закрыта"),
    (
        "the issue is gone from this repository",
        "задачи в этом репозитории больше нет",
    ),
    ("its time is up", "время вышло"),
    (
        "the agent's answer lacks `{}`, which its stage asks for",
        "в ответе агента нет `{}`, хотя этап об этом просит",
    ),
    (
        "it waited for people for longer than a run may",
        "он ждал людей дольше, чем позволено",
    ),
    (
        "`{}` asks for work, which ends the discussion",
        "метка `{}` просит о работе, и обсуждение на этом кончается",
    ),
    (
        "refused: work was asked for, which ends the discussion",
        "отказано: попросили о работе, и обсуждение на этом кончается",
    ),
    (
        "refused: the config no longer asks for it",
        "отказано: конфигурация больше об этом не просит",
    ),
    (
        "the work on the issue was taken back by `{}`",
        "работу по задаче вернули назад меткой `{}`",
    ),
    (
        "refused: the work on the issue was taken back afterwards",
        "отказано: работу по задаче после этого вернули назад",
    ),
    (
        "the project or platform is suspended",
        "проект или платформа приостановлены",
    ),
    ("agent `{}` is not enabled", "агент `{}` выключен"),
    (
        "the project is not in the config",
        "проекта нет в конфигурации",
    ),
    (
        "the actor's permission is not known",
        "права того, кто поставил метку, неизвестны",
    ),
    ("the issue is not read", "задача не прочитана"),
    (
        "it is not read yet who edited the text",
        "ещё не прочитано, кто правил текст",
    ),
    ("the issue is not open", "задача не открыта"),
    (
        "the label is missing and no event says who took it off",
        "метки нет, и ни одно событие не говорит, кто её снял",
    ),
    (
        "the labels {} contradict each other",
        "метки {} противоречат друг другу",
    ),
    ("the repository is not bound", "репозиторий не подключён"),
    (
        "repository {} is unknown: {}",
        "репозиторий {} неизвестен: {}",
    ),
    (
        "repository {} is not read whole yet",
        "репозиторий {} прочитан ещё не целиком",
    ),
    (
        "repository {} belongs to the other installation `{}`",
        "репозиторий {} принадлежит другой установке `{}`",
    ),
    (
        "the owner of repository {} is not read yet",
        "владелец репозитория {} ещё не прочитан",
    ),
    (
        "refused: the actor may not start runs here",
        "отказано: тот, кто поставил метку, не может начинать здесь работу",
    ),
    (
        "refused: set by a bot, an app or one of our own identities",
        "отказано: метку поставил бот, приложение или одна из наших учётных записей",
    ),
    (
        "refused: title or body changed by someone who may not start runs",
        "отказано: заголовок или текст изменил тот, кто не может начинать работу",
    ),
    (
        "refused: title or body changed after the trigger by someone who may not start runs",
        "отказано: после метки заголовок или текст изменил тот, кто не может начинать работу",
    ),
    (
        "there is no open pull request of ours to revise",
        "нет нашего открытого пул-реквеста, который можно доработать",
    ),
    (
        "labels choose more than one of the same: {}",
        "метки выбирают больше одного из одного и того же: {}",
    ),
    (
        "model {} is served by {}, and the agent's program speaks to {}",
        "модель {} обслуживает {}, а программа агента обращается к {}",
    ),
    ("the same is asked for already", "об этом уже попросили"),
    ("the issue is closed", "задача закрыта"),
    (
        "no trigger of the catalogue has this label",
        "в каталоге нет метки запуска с таким названием",
    ),
    (
        "the config does not know the stage that asks",
        "конфигурация не знает этапа, который просит",
    ),
    (
        "the agent's policy does not let it ask for this stage",
        "политика агента не позволяет ему просить об этом этапе",
    ),
    (
        "the issue was closed before it could start",
        "задача закрыта раньше, чем работа началась",
    ),
    (
        "it says neither what it is about nor who granted it",
        "не сказано ни о чём просьба, ни кто её одобрил",
    ),
    (
        "prompt template `{}` line {}: {}",
        "шаблон промпта `{}`, строка {}: {}",
    ),
    (
        "the agent gave up with exit code {}",
        "агент сдался с кодом выхода {}",
    ),
    ("the agent gave up", "агент сдался"),
    (
        "its result names commit {}, which was never pushed",
        "итог называет коммит {}, который не был отправлен",
    ),
    (
        "its pull request #{} was closed before the run ended",
        "пул-реквест #{} закрыли до конца запуска",
    ),
    (
        "the agent changed nothing, so there is no pull request",
        "агент ничего не изменил, поэтому пул-реквеста нет",
    ),
    ("attempt {} of {}: {}", "попытка {} из {}: {}"),
    ("its job failed ({})", "задание завершилось ошибкой ({})"),
    (
        "its job ended without a result",
        "задание закончилось без итога",
    ),
    ("its job is gone", "задания больше нет"),
    ("no result", "нет итога"),
    ("no reason", "причина не названа"),
    (
        "its pod ended with exit code {} ({})",
        "под завершился с кодом выхода {} ({})",
    ),
    ("its pod does not start: {}", "под не запускается: {}"),
    ("its node is unreachable", "узел недоступен"),
    (
        "it ended before the database was restored; how is not known any more",
        "закончился до восстановления базы данных; как именно, уже неизвестно",
    ),
];

/// A reason in a language.
pub(super) fn reason_in(text: &str, language: Language) -> String {
    match language {
        Language::English => text.to_owned(),
        Language::Russian => in_russian(text).unwrap_or_else(|| text.to_owned()),
    }
}

/// Whether a reason can be said in every language.
pub fn is_known_reason(text: &str) -> bool {
    in_russian(text).is_some()
}

fn in_russian(text: &str) -> Option<String> {
    REASONS.iter().find_map(|(english, russian)| {
        let cases = cases_in(text, english)?;
        let filled = cases.into_iter().fold((*russian).to_owned(), |text, case| {
            let case = in_russian(case).unwrap_or_else(|| case.to_owned());
            text.replacen("{}", &case, 1)
        });
        Some(filled)
    })
}

/// What stands at the places of a template in a text that was made from it.
fn cases_in<'a>(text: &'a str, template: &str) -> Option<Vec<&'a str>> {
    let mut parts = template.split("{}");
    let mut rest = text.strip_prefix(parts.next()?)?;
    let mut cases = Vec::new();
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let at = match (part.is_empty(), parts.peek()) {
            (true, _) => rest.len(),
            // The last part ends the text, wherever else it may stand in the case before it.
            (false, None) => rest.strip_suffix(part)?.len(),
            (false, Some(_)) => rest.find(part)?,
        };
        cases.push(&rest[..at]);
        rest = &rest[at + part.len()..];
    }
    rest.is_empty().then_some(cases)
}

/// A reason in a project's language.
pub fn reason_for(text: &str, locale: &Locale) -> String {
    reason_in(text, Language::of(locale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_have_the_same_places() {
        for &(english, russian) in REASONS {
            let places = |text: &str| text.matches("{}").count();
            assert_eq!(places(english), places(russian), "{english}");
            assert_eq!(
                cases_in(english, english).map(|it| it.len()),
                Some(places(english))
            );
        }
    }

    #[test]
    fn a_reason_keeps_its_case_and_its_own_reason_is_said_as_well() {
        let said = reason_for(
            "attempt 3 of 3: its job failed (DeadlineExceeded)",
            &"ru".into(),
        );
        assert_eq!(
            said,
            "попытка 3 из 3: задание завершилось ошибкой (DeadlineExceeded)"
        );
        assert_eq!(reason_for("Nobody knows.", &"ru".into()), "Nobody knows.");
        assert_eq!(reason_for("its time is up", &"en".into()), "its time is up");
        assert!(!is_known_reason("its time is up soon"));
        let other = "model large is served by other, and the agent's program speaks to one";
        assert!(is_known_reason(other), "it rejects a run");
    }
}
