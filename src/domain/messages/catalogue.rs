//! The words that the platform's comments and pull requests are made of.

use super::words::words;

words! {
    /// One text of the catalogue.
    Word {
        StatusTitle: "Agent run: {}", "Запуск агента: {}";
        Run: "Run", "Запуск";
        Trigger: "Trigger", "Метка запуска";
        Agent: "Agent", "Агент";
        Model: "Model", "Модель";
        Reasoning: "Reasoning", "Глубина рассуждений";
        State: "State", "Состояние";
        RuntimeMode: "Mode", "Режим";
        Namespace: "Namespace", "Пространство имён";
        Branch: "Branch", "Ветка";
        PullRequest: "Pull request", "Пул-реквест";
        Timeline: "Timeline", "Ход работы";
        WhatYouCanDo: "What you can do", "Что можно сделать";
        Summary: "Summary", "Итог";
        Tests: "What was tried out", "Что проверено";
        Questions: "Questions for people", "Вопросы к людям";
        Reason: "Reason", "Причина";
        Config: "Config", "Конфигурация";
        StateQueued: "queued", "в очереди";
        StateHeld: "held back", "придержан";
        StateStarting: "starting", "запускается";
        StateRunning: "working", "работает";
        StateWaiting: "waiting for an answer", "ждёт ответа";
        StateStopping: "stopping", "останавливается";
        StateSucceeded: "succeeded", "завершён успешно";
        StateSucceededNoChange:
            "succeeded, nothing had to be changed",
            "завершён успешно, менять ничего не пришлось";
        StateReplied: "answered", "ответ дан";
        StateAsks:
            "ended with questions to people",
            "завершён, есть вопросы к людям";
        StateFailed: "failed", "завершился ошибкой";
        StateTimedOut: "timed out", "время истекло";
        StateCancelledLabel: "cancelled: the label was removed", "отменён: метка снята";
        StateCancelledClosed: "cancelled: the issue was closed", "отменён: задача закрыта";
        StateCancelledOther: "cancelled", "отменён";
        StateRejected: "rejected before its start", "отклонён до старта";
        StepQueued: "came into the queue", "поставлен в очередь";
        StepStarted: "started", "начат";
        StepAttempt: "attempt {} started", "начата попытка {}";
        StepFinished: "finished", "закончен";
        StepCleaned: "workspace deleted", "рабочее пространство удалено";
        DoQueued:
            "Nothing: it starts by itself when there is room. Remove the label {} to take it back.",
            "Ничего: запуск начнётся сам, когда появится место. Чтобы отказаться от него, снимите метку {}.";
        DoRunning:
            "Wait, or remove the label {} to stop it.",
            "Подождите или снимите метку {}, чтобы остановить работу.";
        DoClose:
            "Wait, or close the issue to take it back.",
            "Подождите или закройте задачу, чтобы отказаться от этого.";
        DoStopping:
            "Wait until it has ended; a new start waits for that.",
            "Дождитесь завершения: новый запуск начнётся только после него.";
        DoReview:
            "Review the pull request. To have it revised, request changes and add the label {}.",
            "Проверьте пул-реквест. Чтобы его доработали, запросите изменения и поставьте метку {}.";
        DoNoChange:
            "Say in the issue what is still missing, and add the label {} again.",
            "Опишите в задаче, чего не хватает, и снова поставьте метку {}.";
        DoAnswer:
            "Answer the questions in the issue, and add the label {} again.",
            "Ответьте на вопросы в задаче и снова поставьте метку {}.";
        DoReply:
            "Go on with a comment. To end the discussion remove the label {}; a label that asks for work ends it, too.",
            "Продолжайте комментарием. Чтобы закончить обсуждение, снимите метку {}; метка, которая просит о работе, тоже его заканчивает.";
        DoAgain:
            "Mend the cause if it is yours, and add the label {} to start again.",
            "Устраните причину, если она на вашей стороне, и поставьте метку {}, чтобы начать заново.";
        DoReopen:
            "Reopen the issue and add the label {} to start again.",
            "Откройте задачу снова и поставьте метку {}, чтобы начать заново.";
        ConflictTitle: "These labels contradict each other", "Метки противоречат друг другу";
        ConflictBody:
            "On this issue different work is asked for at once, by a label, a review or what was approved: {}.",
            "По этой задаче одновременно просят разной работы – меткой, рецензией или одобрением: {}.";
        ConflictAsk:
            "Nothing starts until only one of them is left. Take the others back by removing the label or dismissing the review; the one that stays starts by itself.",
            "Ничего не начнётся, пока не останется одно. Отмените лишнее – снимите метку или отклоните рецензию: оставшееся начнётся само.";
        ConflictResolved:
            "The labels contradicted each other; that is settled. What remains starts by itself: {}.",
            "Метки противоречили друг другу; это улажено. Оставшееся начнётся само: {}.";
        ConflictOver:
            "The labels contradicted each other; that is over, none of them is left.",
            "Метки противоречили друг другу; это в прошлом, ни одной не осталось.";
        ConflictReplaced:
            "The labels contradicted each other. By now others do, as a newer comment says.",
            "Метки противоречили друг другу. Теперь это другие: о них говорит более новый комментарий.";
        BlockedTitle: "This issue is blocked", "Задача заблокирована";
        BlockedBody:
            "The label {} stands in the way of what was asked for.",
            "Метка {} не даёт начать то, о чём просили.";
        BlockedAsk:
            "Remove it when the issue may go on; the work starts by itself then.",
            "Снимите её, когда можно продолжать: работа начнётся сама.";
        BlockedResolved:
            "The issue was blocked; that is over.",
            "Задача была заблокирована; теперь это не так.";
        StageMissingBody:
            "What was asked for comes after the stage {}, which has not succeeded on this issue.",
            "То, о чём просили, идёт после этапа {}, а он на этой задаче ещё не пройден.";
        StageMissingAsk:
            "Have that done first ({}); what was asked for starts by itself then.",
            "Сначала пройдите его ({}): то, о чём просили, начнётся после этого само.";
        UnreviewedBody:
            "What was asked for comes after the stage {}, whose work has not passed its review.",
            "То, о чём просили, идёт после этапа {}, а его работа ещё не прошла рецензию.";
        UnreviewedAsk:
            "Merge its pull request, or let an owner of the project put on {}; what was asked for starts by itself then. Where that was closed without a merge the stage has to be done again.",
            "Слейте её пул-реквест, или пусть владелец проекта поставит {}: то, о чём просили, начнётся после этого само. Если пул-реквест закрыт без слияния, этап нужно пройти заново.";
        UnreviewedMerge:
            "Merge its pull request; what was asked for starts by itself then. Where it was closed without a merge the stage has to be done again.",
            "Слейте её пул-реквест: то, о чём просили, начнётся после этого само. Если он закрыт без слияния, этап нужно пройти заново.";
        RefusedTitle: "The label {} was not accepted", "Метка {} не принята";
        RefusedContentChanged:
            "Title or text of the issue were changed after this was asked for by someone who may not start this work, or it cannot be told by whom.",
            "Заголовок или текст задачи после этой просьбы изменил тот, кто не может начинать эту работу, или неизвестно кто.";
        RefusedNoPullRequest:
            "There is no open pull request of ours here that could be revised.",
            "Здесь нет нашего открытого пул-реквеста, который можно доработать.";
        RefusedNotRevisable:
            "The work of this stage is not revised after a review.",
            "Работа этого этапа по рецензии не дорабатывается.";
        RefusedSuperseded:
            "The work on this issue was taken back afterwards.",
            "Работу по этой задаче после этого вернули назад.";
        RefusedGrantTitle:
            "What was approved does not start: {}", "Одобренное не начинается: {}";
        RefusedClosed:
            "The pull request was closed or merged before the review.",
            "Пул-реквест закрыт или влит раньше, чем появилась рецензия.";
        RefusedForeignText:
            "The config asks for work here without anybody looking at it, and the text of the issue is not by members who may ask for work alone.",
            "Конфигурация просит здесь о работе без участия людей, а текст задачи написан не только теми участниками, которые могут просить о работе.";
        RefusedNotConfigured:
            "The config asked for this work and no longer does.",
            "Конфигурация просила об этой работе, но больше не просит.";
        RefusedOrderTitle:
            "What the config asked for here does not start",
            "То, о чём здесь просила конфигурация, не начнётся";
        RefusedReviewTitle: "This review starts no work", "Эта рецензия не начинает работу";
        AskAnew:
            "Put the stage's label on the issue again to have its work done anew.",
            "Поставьте на задачу метку этапа ещё раз, чтобы выполнить его заново.";
        AskOwnText:
            "Write the text into an issue of your own and name that one in the config.",
            "Перенесите текст в свою задачу и укажите в конфигурации её.";
        AskConfig:
            "Nothing, unless the work is still wanted: then ask for it in the config again, or put its label on.",
            "Ничего, если работа больше не нужна. Если нужна, верните её в конфигурацию или поставьте её метку.";
        AskLater:
            "Put the stage's label on once it is decided where the work goes on.",
            "Поставьте метку этапа, когда будет решено, откуда продолжать.";
        AskRelabel:
            "Read the text as it is now; if it says what is wanted, remove the label and add it again.",
            "Прочитайте текст, каким он стал; если всё верно, снимите метку и поставьте её снова.";
        AskLabel:
            "Read the text as it is now; if it says what is wanted, put the label {} on.",
            "Прочитайте текст, каким он стал; если всё верно, поставьте метку {}.";
        AskStart:
            "Start with the label of the first stage instead.",
            "Начните с метки первого этапа.";
        PullRequestIntro:
            "This pull request was made by an agent. Review it as you would any other.",
            "Этот пул-реквест создан агентом. Проверяйте его так же, как любой другой.";
        PullRequestFacts: "How it came about", "Как он появился";
        PullRequestNotice:
            "The summary is the agent's own; mentions and commands in it were defused.",
            "Итог написан самим агентом; упоминания и команды в нём обезврежены.";
        PullRequestTitle: "Work on issue {}", "Работа над задачей {}";
        PartOf: "Part of #{}", "Часть работы по #{}";
        NoSummary: "The agent left no summary.", "Агент не оставил итога.";
    }
}
