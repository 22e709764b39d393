//! The example organisation in `state/` loads, and lookups find what it says.

use std::{collections::BTreeSet, path::Path};

use codex_k8s::{
    desired::{
        load::{load, read_folder},
        model::{
            ApprovalPolicySpec, Asked, Desired, LabelMeaning, Member, ObjectName, RuntimeMode,
            StateKind, TemplateKind, TemplateScope, schema,
        },
    },
    domain::{
        approval::{ApprovalAction, ApprovalMode},
        ids::{AgentKey, CommitSha, Locale, ProjectKey, RepositoryName, StageKind, UserId},
        trigger::TriggerKind,
    },
};

pub(crate) fn example() -> Desired {
    let files = read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("state"))
        .expect("state/ is readable");
    match load(CommitSha::new("0".repeat(40)), files) {
        Ok(desired) => desired,
        Err(errors) => {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            panic!("state/ does not validate:\n{}", lines.join("\n"));
        }
    }
}

#[test]
fn the_example_organisation_validates() {
    let desired = example();
    let demo = ProjectKey::from("demo");
    let name: RepositoryName = "Example-Org/hello".parse().unwrap();
    assert_eq!(
        desired.repository(&name).map(|(project, _)| project),
        Some(&demo)
    );
    let dev = StageKind::from("dev");
    let agent = desired.agent_for(&demo, &dev).expect("the dev agent");
    assert_eq!(agent.key, &AgentKey::from("dev"));
    assert_eq!(
        desired
            .policy_for(&demo, agent.key)
            .map(|policy| policy.max_attempts),
        Some(3)
    );
    assert_eq!(desired.agent_limit(&demo, agent.key), Some(2));
}

#[test]
fn labels_are_looked_up_without_case_blanks_and_model_brackets() {
    let desired = example();
    let dev = |revise| {
        LabelMeaning::Trigger(TriggerKind {
            stage: StageKind::from("dev"),
            revise,
        })
    };
    for (name, meaning) in [
        (" Run:Dev ", Some(dev(false))),
        ("run:dev:revise", Some(dev(true))),
        ("RUN:DEBUG", Some(LabelMeaning::Debug)),
        (
            "state:in-review",
            Some(LabelMeaning::State(StateKind::InReview)),
        ),
        ("need:input", Some(LabelMeaning::Need("input".to_owned()))),
        (
            "AI-model-gpt-5.2",
            Some(LabelMeaning::Model("gpt-5.2".to_owned())),
        ),
        (
            "[ai-model-gpt-5.2]",
            Some(LabelMeaning::Model("gpt-5.2".to_owned())),
        ),
        ("[run:dev]", None),
        ("run:unknown", None),
    ] {
        assert_eq!(desired.label(name), meaning, "{name}");
    }
}

#[test]
fn templates_fall_back_from_the_locale_to_the_project_the_platform_and_english() {
    let mut desired = example();
    let (demo, dev, stage) = (
        ProjectKey::from("demo"),
        AgentKey::from("dev"),
        StageKind::from("dev"),
    );
    let found = |desired: &Desired, locale: &str| {
        let template = desired.template_for(
            &demo,
            &dev,
            &stage,
            TemplateKind::Work,
            &Locale::from(locale),
        );
        template.map(|template| (template.scope, template.locale.as_str().to_owned()))
    };
    assert_eq!(
        found(&desired, "ru"),
        Some((TemplateScope::Platform, "ru".to_owned()))
    );
    assert_eq!(
        found(&desired, "RU"),
        Some((TemplateScope::Platform, "ru".to_owned()))
    );
    assert_eq!(
        found(&desired, "de"),
        Some((TemplateScope::Platform, "en".to_owned()))
    );
    let project = desired.projects.get_mut(&demo).unwrap();
    project.spec.locale = Some(Locale::from("ru"));
    assert_eq!(
        found(&desired, "de"),
        Some((TemplateScope::Platform, "ru".to_owned()))
    );
    let mut own = desired
        .templates
        .values()
        .find(|template| template.locale.as_str() == "ru")
        .unwrap()
        .clone();
    own.kind = TemplateKind::Work;
    own.scope = TemplateScope::Project;
    desired
        .projects
        .get_mut(&demo)
        .unwrap()
        .templates
        .insert(own.key(), own);
    assert_eq!(
        found(&desired, "ru"),
        Some((TemplateScope::Project, "ru".to_owned()))
    );
}

#[test]
fn desired_survives_a_round_trip_and_serialises_to_the_same_bytes() {
    let desired = example();
    let text = serde_json::to_string(&desired).unwrap();
    let back: Desired = serde_json::from_str(&text).unwrap();
    assert_eq!(back, desired);
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
}

#[test]
fn one_schema_accepts_every_document_of_the_example_and_no_other() {
    let validator =
        jsonschema::draft202012::new(&schema::any_document_schema()).expect("the schema is valid");
    let files = read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("state")).unwrap();
    let mut kinds = BTreeSet::new();
    for file in files
        .files
        .iter()
        .filter(|file| !file.path.starts_with("prompts/"))
    {
        let mut value: serde_json::Value = serde_yaml::from_slice(&file.bytes).unwrap();
        assert!(validator.is_valid(&value), "{}", file.path);
        kinds.insert(value["kind"].as_str().unwrap().to_owned());
        value["spec"]["surprise"] = serde_json::json!(1);
        assert!(!validator.is_valid(&value), "{}", file.path);
    }
    assert_eq!(kinds.len(), 9, "{kinds:?}");
}

#[test]
fn of_the_platforms_and_the_projects_approval_policy_the_stricter_word_counts() {
    let mut desired = example();
    let demo = ProjectKey::from("demo");
    let (agent, stage) = (AgentKey::from("pm"), StageKind::from("intake"));
    let terms = |desired: &Desired, target: &str| {
        let asked = Asked {
            agent: &agent,
            stage: &stage,
            runtime_mode: RuntimeMode::CodeOnly,
            action: ApprovalAction::StartStage,
            target: &StageKind::from(target),
        };
        desired.approval_terms(&demo, &asked)
    };
    assert_eq!(terms(&desired, "vision").approval, ApprovalMode::Delegated);
    assert_eq!(terms(&desired, "dev").approval, ApprovalMode::Owner);

    // A policy in the project's own folder, alone, cannot widen what holds without any.
    let lax: ApprovalPolicySpec = serde_json::from_value(
        serde_json::json!({ "expiresAfter": "1h", "rules": [{ "approval": "none" }] }),
    )
    .unwrap();
    let name = ObjectName::from("approvals");
    let own = &mut desired.projects.get_mut(&demo).unwrap().approvals;
    own.insert(name.clone(), lax.clone());
    assert_eq!(terms(&desired, "vision").approval, ApprovalMode::Owner);
    assert_eq!(terms(&desired, "vision").expires_after.as_secs(), 3_600);

    // Beside a default of the platform it narrows that.
    desired.platform.approval_policy = Some(name);
    assert_eq!(terms(&desired, "vision").approval, ApprovalMode::Delegated);
    desired
        .projects
        .get_mut(&demo)
        .unwrap()
        .spec
        .approval_policy = None;
    assert_eq!(
        terms(&desired, "vision").expires_after.as_secs(),
        7 * 86_400
    );
}

#[test]
fn who_wants_to_learn_says_so_itself_else_its_project_else_the_platform() {
    let mut desired = example();
    let demo = ProjectKey::from("demo");
    let ada = Some(UserId(1001));
    assert!(!desired.learning_mode(&demo, ada));
    desired.platform.learning_mode = true;
    assert!(desired.learning_mode(&demo, ada) && desired.learning_mode(&demo, None));
    let project = &mut desired.projects.get_mut(&demo).unwrap().spec;
    project.learning_mode = Some(false);
    let Some(Member::User { learning_mode, .. }) = project.members.first_mut() else {
        unreachable!("the first member is an account");
    };
    *learning_mode = Some(true);
    assert!(desired.learning_mode(&demo, ada));
    assert!(
        !desired.learning_mode(&demo, Some(UserId(1002))) && !desired.learning_mode(&demo, None)
    );
}
