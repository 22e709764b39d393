//! Projects with agents and policies of their own: what they get, and what is refused.

use std::path::Path;

use codex_k8s::{
    desired::{
        load::{Code, load, read_folder},
        model::{Desired, TemplateKind},
    },
    domain::ids::{AgentKey, CommitSha, Locale, ProjectKey, StageKind},
};

use super::{AGENT, Broken};

const DOCUMENT: &str = "apiVersion: codex-k8s.dev/v1alpha1\nkind: ";
const POLICY: &str = "projects/demo/policies/own.yaml";

fn policy(name: &str, spec: &str) -> String {
    format!("{DOCUMENT}AgentPolicy\nmetadata: {{ name: {name} }}\nspec: {{ {spec} }}\n")
}

/// The example with `demo`, whose `dev` is another, and `other`, whose code a `scribe` writes.
fn two_projects() -> Broken {
    let broken = Broken::new();
    let read = |path: &str| std::fs::read_to_string(broken.folder.path().join(path)).unwrap();
    let dev = read(AGENT);
    let demos = dev
        .replace("agent:latest", "agent:careful")
        .replace("policy: standard", "policy: own\n  model: gpt-5.2");
    let scribe = dev.replace("name: dev", "name: scribe");
    broken
        .write("projects/demo/agents/dev.yaml", demos)
        .write(POLICY, policy("own", "maxParallelRuns: 1, maxAttempts: 1"))
        .replace("projects/demo/project.yaml", "dev: 2", "dev: 1")
        .write("projects/other/agents/scribe.yaml", scribe)
        .write(
            "projects/other/project.yaml",
            format!(
                "{DOCUMENT}Project\nmetadata: {{ name: other }}\nspec:\n  slots: 2\n  agents: {{ dev: scribe }}\n"
            ),
        );
    for file in ["work.en.md", "review.en.md"] {
        let text = read(&format!("prompts/dev/{file}"));
        let text = text.replace("agent: dev", "agent: scribe");
        broken.write(&format!("projects/other/prompts/{file}"), text);
    }
    broken
}

#[track_caller]
fn loaded(broken: &Broken) -> Desired {
    let files = read_folder(broken.folder.path()).unwrap();
    load(CommitSha::new("0"), files).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

#[track_caller]
fn refused(broken: &Broken, wanted: &[(&str, Code, &str)]) {
    let errors = broken.errors();
    assert_eq!(errors.len(), wanted.len(), "{errors:#?}");
    for (error, (place, code, message)) in errors.iter().zip(wanted) {
        let found = format!("{}:{}{}", error.file, error.line, error.path);
        assert_eq!((found.as_str(), error.code), (*place, *code), "{error}");
        assert!(error.message.contains(message), "{error}");
    }
}

#[test]
fn a_projects_own_dev_changes_that_project_alone() {
    let desired = loaded(&two_projects());
    let [demo, other] = ["demo", "other"].map(ProjectKey::from);
    let (dev, stage) = (AgentKey::from("dev"), StageKind::from("dev"));
    let of = |project| desired.agent(project, &dev).unwrap().spec;
    assert_eq!(of(&demo).image, "codex-k8s/agent:careful");
    assert_eq!(desired.default_model(of(&demo)), "gpt-5.2");
    assert_eq!(desired.agent_limit(&demo, &dev), Some(1));
    assert_eq!(desired.policy_for(&demo, &dev).unwrap().max_attempts, 1);
    assert_eq!(desired.agent_for(&demo, &stage).unwrap().key, &dev);

    assert_eq!(of(&other), &desired.agents[&dev]);
    assert_eq!(desired.agent_limit(&other, &dev), Some(2));
    assert_eq!(desired.policy_for(&other, &dev).unwrap().max_attempts, 3);
}

#[test]
fn an_agent_that_a_project_names_for_a_stage_does_that_stage_there_and_no_other() {
    let desired = loaded(&two_projects());
    let [demo, other] = ["demo", "other"].map(ProjectKey::from);
    let (scribe, stage) = (AgentKey::from("scribe"), StageKind::from("dev"));
    let named = desired.agent_for(&other, &stage).unwrap();
    assert_eq!(named.key, &scribe);
    let qa = StageKind::from("qa");
    assert_eq!(desired.agent_for(&other, &qa).unwrap().key.as_str(), "qa");
    assert!(desired.agent(&demo, &scribe).is_none());
    let english = Locale::from("en");
    let template =
        |project| desired.template_for(project, &scribe, &stage, TemplateKind::Work, &english);
    assert!(template(&other).is_some() && template(&demo).is_none());
}

#[test]
fn what_is_said_of_requests_of_a_stages_usual_agent_holds_for_the_one_in_its_place() {
    use codex_k8s::{
        desired::model::{Asked, RuntimeMode},
        domain::approval::{ApprovalAction, ApprovalMode},
    };
    let broken = two_projects();
    let rules = "  rules:\n    - { agent: dev, approval: owner }\n    - { approval: none }\n";
    broken.replace("policies/approvals.yaml", "  rules:\n", rules);
    broken.replace(
        "projects/other/project.yaml",
        "  slots: 2",
        "  slots: 2\n  approvalPolicy: approvals",
    );
    let desired = loaded(&broken);
    let mode = |agent: &str, stage: &str| {
        let asked = Asked {
            agent: &AgentKey::from(agent),
            stage: &StageKind::from(stage),
            runtime_mode: RuntimeMode::FullEnv,
            action: ApprovalAction::StartStage,
            target: &StageKind::from("release"),
        };
        let other = ProjectKey::from("other");
        desired.approval_terms(&other, &asked).approval
    };
    assert_eq!(mode("qa", "qa"), ApprovalMode::None);
    assert_eq!(mode("scribe", "dev"), ApprovalMode::Owner);
}

#[test]
fn a_projects_agents_stay_inside_what_it_narrows_and_need_their_templates() {
    let broken = two_projects();
    let narrow = "  slots: 2\n  narrow:\n    rbacProfiles: [none, read]\n    commands: { allowed: [claude] }\n    images: { allowed: [registry.example.org/agents/] }";
    broken.replace("projects/other/project.yaml", "  slots: 2", narrow);
    std::fs::remove_file(Path::join(
        broken.folder.path(),
        "projects/other/prompts/review.en.md",
    ))
    .unwrap();
    let errors = broken.errors();
    let own: Vec<_> = errors
        .iter()
        .filter(|error| error.path != "/spec/narrow")
        .map(|error| (error.file.as_str(), error.path.as_str(), error.code))
        .collect();
    let agent = "projects/other/agents/scribe.yaml";
    assert_eq!(
        own,
        [
            (agent, "/spec/image", Code::GuardrailExceeded),
            (agent, "/spec/cli", Code::GuardrailExceeded),
            (agent, "/spec/rbacProfile", Code::GuardrailExceeded),
            (
                "projects/other/project.yaml",
                "/spec/agents/dev",
                Code::MissingDocument
            ),
        ],
        "{errors:#?}"
    );
    let about_dev = errors
        .iter()
        .filter(|error| error.message.contains("stage `dev` cannot"));
    assert_eq!(
        about_dev.count(),
        0,
        "another agent does it here: {errors:#?}"
    );
}

#[test]
fn a_policy_of_the_platforms_name_is_narrowed_by_a_project_and_never_widened() {
    let broken = Broken::new();
    let standard = "policies/standard.yaml";
    let more = "runTimeout: 2h\n  tools: [labels_list]\n  requestableStages: [qa]\n  writableLabels: [\"area/*\"]";
    broken.replace(standard, "runTimeout: 2h", more);
    let same = "maxParallelRuns: 2, runTimeout: 90m, tools: [], requestableStages: [qa], writableLabels: [area/ui, \"area/x*\"]";
    broken.write(POLICY, policy("standard", same));
    loaded(&broken);
    let wide = "maxParallelRuns: 3, runTimeout: 3h, maxAttempts: 4, tools: [labels_list, labels_add], writableLabels: [\"*\"]";
    broken.write(POLICY, policy("standard", wide));
    let code = Code::LimitExceeded;
    refused(
        &broken,
        &[
            (
                "projects/demo/policies/own.yaml:4/spec/requestableStages",
                code,
                "`requestableStages` is absent, which means all, above the `qa` of",
            ),
            (
                "projects/demo/policies/own.yaml:4/spec/maxParallelRuns",
                code,
                "`maxParallelRuns` is 3, above the 2 of the platform's policy `standard` (policies/standard.yaml:6)",
            ),
            (
                "projects/demo/policies/own.yaml:4/spec/runTimeout",
                code,
                "`runTimeout` is 3h, above the 2h of the platform's policy `standard` (policies/standard.yaml:7)",
            ),
            (
                "projects/demo/policies/own.yaml:4/spec/maxAttempts",
                code,
                "is 4, above the 3",
            ),
            (
                "projects/demo/policies/own.yaml:4/spec/tools",
                code,
                "`tools` names `labels_add`, beyond the `labels_list` of",
            ),
            (
                "projects/demo/policies/own.yaml:4/spec/writableLabels",
                code,
                "`writableLabels` names `*`, beyond `area/*` of",
            ),
        ],
    );
}

#[test]
fn a_policy_under_a_new_name_stays_below_what_the_platforms_policies_allow() {
    let broken = Broken::new();
    broken.write(POLICY, policy("own", "maxParallelRuns: 2, runTimeout: 1h"));
    loaded(&broken);
    let wide = "maxParallelRuns: 3, writableLabels: [bug]";
    broken.write(POLICY, policy("own", wide));
    refused(
        &broken,
        &[
            (
                "projects/demo/policies/own.yaml:4/spec/maxParallelRuns",
                Code::LimitExceeded,
                "`maxParallelRuns` is 3, above the 2 of the platform's policy `standard`",
            ),
            (
                "projects/demo/policies/own.yaml:4/spec/writableLabels",
                Code::LimitExceeded,
                "`writableLabels` names `bug`, beyond nothing of the platform's policies",
            ),
        ],
    );
}

#[test]
fn the_programs_own_templates_stand_in_where_a_platform_has_none() {
    let broken = Broken::new();
    std::fs::remove_dir_all(broken.folder.path().join("prompts/qa")).unwrap();
    let dev = broken.folder.path().join("prompts/dev/work.ru.md");
    std::fs::remove_file(dev).unwrap();
    let desired = loaded(&broken);
    let demo = ProjectKey::from("demo");
    let found = |agent: &str, locale: &str| {
        let (agent, stage) = (AgentKey::from(agent), StageKind::from(agent));
        let locale = Locale::from(locale);
        let found = desired.template_for(&demo, &agent, &stage, TemplateKind::Work, &locale);
        found.map(|it| (it.scope.as_str(), it.locale.as_str().to_owned()))
    };
    assert_eq!(found("qa", "ru"), Some(("built-in", "ru".to_owned())));
    assert_eq!(found("qa", "en"), Some(("built-in", "en".to_owned())));
    // What a platform wrote is not mixed with what it did not.
    assert_eq!(found("dev", "ru"), Some(("platform", "en".to_owned())));
    let whole = loaded(&Broken::new());
    assert_eq!(whole.objects() - desired.objects(), 5);
}
