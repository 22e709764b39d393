//! Approval policies name agents and stages that exist, and are named where they exist.

use super::{among, refer, stage_kinds};
use crate::desired::{
    load::{
        document::{Document, Scope},
        error::{Code, ConfigError},
        objects::Objects,
        suggest::did_you_mean,
    },
    model::{ApprovalPolicySpec, Kind},
};

pub(super) fn check(objects: &Objects, errors: &mut Vec<ConfigError>) {
    for policy in &objects.approvals {
        rules(objects, policy, errors);
    }
    let kind = Kind::ApprovalPolicy;
    for platform in &objects.platforms {
        if let Some(name) = &platform.spec.approval_policy {
            let path = ["spec", "approvalPolicy"];
            refer(objects, platform, &path, (kind, name.as_str()), errors);
        }
    }
    for project in &objects.projects {
        // What a project names may stand in its own folder.
        let scope = Scope::Project(project.name.as_str().into());
        if let Some(name) = &project.spec.approval_policy
            && !objects.is_declared(kind, &scope, name.as_str())
        {
            let hint = did_you_mean(name.as_str(), objects.visible(kind, &scope));
            let message = format!("there is no {kind} `{name}`{hint}");
            let path = ["spec", "approvalPolicy"];
            errors.push(project.error(&path, Code::DanglingReference, message));
        }
    }
}

fn rules(objects: &Objects, policy: &Document<ApprovalPolicySpec>, errors: &mut Vec<ConfigError>) {
    let kinds = stage_kinds(objects);
    for (index, rule) in policy.spec.rules.iter().enumerate() {
        let index = index.to_string();
        if let Some(agent) = &rule.agent {
            let path = ["spec", "rules", &index, "agent"];
            refer(
                objects,
                policy,
                &path,
                (Kind::Agent, agent.as_str()),
                errors,
            );
        }
        let Some(kinds) = &kinds else { continue };
        for (field, stage) in [("stage", &rule.stage), ("target", &rule.target)] {
            if let Some(stage) = stage {
                let path = ["spec", "rules", &index, field];
                let known = kinds.iter().copied();
                among(policy, &path, ("stage", stage.as_str()), known, errors);
            }
        }
    }
}
