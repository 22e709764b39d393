//! The cluster as a plan leaves it.

use codex_k8s::cluster::{
    ObjectKind,
    manifests::{AttemptSpec, RunEnvironment, environment_objects, references},
    snapshot::{
        JobOutcome, JobRow, NamespacePhase, NamespaceRow, ObjectRow, Owner, PodPhase, PodRow,
        RunMark,
    },
};

use crate::plan::world::World;

impl World {
    pub(super) fn apply_environment(
        &mut self,
        environment: &RunEnvironment,
        input_hash: &str,
    ) -> String {
        let owner = Owner {
            run: Some(environment.identity.run),
            attempt: None,
        };
        let name = &environment.namespace;
        let known = self
            .cluster
            .namespaces
            .iter()
            .position(|row| row.name == *name);
        let at = known.unwrap_or_else(|| {
            let uid = format!("namespace-{}", self.next_id());
            self.cluster.namespaces.push(NamespaceRow {
                name: name.clone(),
                uid,
                resource_version: "1".to_owned(),
                phase: NamespacePhase::Active,
                deletion_timestamp: None,
                owner: owner.clone(),
                mark: RunMark {
                    trigger: Some(environment.identity.trigger.clone()),
                    launch: environment.launch.clone(),
                    ..RunMark::default()
                },
                input_hash: None,
            });
            self.cluster.namespaces.len() - 1
        });
        self.cluster.namespaces[at].input_hash = Some(input_hash.to_owned());
        for reference in references(&environment_objects(environment)).expect("objects") {
            if reference.kind == ObjectKind::Namespace {
                continue;
            }
            let objects = &mut self.cluster.objects;
            if let Some(row) = objects.iter_mut().find(|row| row.reference() == reference) {
                row.input_hash = Some(input_hash.to_owned());
                continue;
            }
            let uid = format!("object-{}", self.next_id());
            self.cluster.objects.push(ObjectRow {
                kind: reference.kind,
                namespace: reference.namespace,
                name: reference.name,
                uid,
                resource_version: "1".to_owned(),
                owner: owner.clone(),
                input_hash: Some(input_hash.to_owned()),
            });
        }
        self.cluster.normalise();
        let mut rows = self.cluster.namespaces.iter();
        rows.find(|row| row.name == *name)
            .expect("just applied")
            .uid
            .clone()
    }

    pub(super) fn apply_attempt(&mut self, spec: &AttemptSpec) -> String {
        let owner = Owner {
            run: Some(spec.identity.run),
            attempt: Some(spec.attempt),
        };
        let name = format!("attempt-{}", spec.attempt);
        let uid = format!("job-{}", self.next_id());
        self.cluster.jobs.push(JobRow {
            namespace: spec.namespace.clone(),
            name: name.clone(),
            uid: uid.clone(),
            resource_version: "1".to_owned(),
            owner: owner.clone(),
            deletion_timestamp: None,
            active: 1,
            succeeded: 0,
            failed: 0,
            outcome: JobOutcome::Open,
            token_key_version: i32::try_from(spec.token_key_version).ok(),
            input_hash: None,
        });
        let pod = format!("pod-{}", self.next_id());
        self.cluster.pods.push(PodRow {
            namespace: spec.namespace.clone(),
            name: format!("{name}-pod"),
            uid: pod,
            resource_version: "1".to_owned(),
            owner,
            phase: PodPhase::Pending,
            waiting_reason: None,
            terminated: None,
            reason: None,
            node: None,
            deletion_timestamp: None,
            ready: false,
            node_unreachable_since: None,
        });
        self.cluster.normalise();
        uid
    }

    pub(super) fn delete_object(&mut self, kind: ObjectKind, uid: &str) {
        let now = self.now;
        match kind {
            ObjectKind::Job => {
                let job = self.cluster.jobs.iter().find(|job| job.uid == uid).cloned();
                self.cluster.jobs.retain(|row| row.uid != uid);
                let Some(job) = job else { return };
                let of_job =
                    |pod: &PodRow| pod.namespace == job.namespace && pod.owner == job.owner;
                if self.lingering {
                    let pods = self.cluster.pods.iter_mut().filter(|pod| of_job(pod));
                    for pod in pods {
                        pod.deletion_timestamp.get_or_insert(now);
                    }
                } else {
                    self.cluster.pods.retain(|pod| !of_job(pod));
                }
            }
            ObjectKind::Pod => self.cluster.pods.retain(|pod| pod.uid != uid),
            other => self
                .cluster
                .objects
                .retain(|row| row.kind != other || row.uid != uid),
        }
    }

    pub(super) fn delete_namespace(&mut self, uid: &str) {
        let now = self.now;
        if let Some(row) = self
            .cluster
            .namespaces
            .iter_mut()
            .find(|row| row.uid == uid)
        {
            row.phase = NamespacePhase::Terminating;
            row.deletion_timestamp = Some(now);
        }
        if !self.stuck {
            self.finish_terminating();
        }
    }

    /// Lets namespaces in Terminating go.
    pub(in crate::plan) fn finish_terminating(&mut self) {
        let going: Vec<String> = self
            .cluster
            .namespaces
            .iter()
            .filter(|row| row.phase == NamespacePhase::Terminating)
            .map(|row| row.name.clone())
            .collect();
        let stays = |namespace: &String| !going.contains(namespace);
        self.cluster.namespaces.retain(|row| stays(&row.name));
        self.cluster.jobs.retain(|row| stays(&row.namespace));
        self.cluster.pods.retain(|row| stays(&row.namespace));
        self.cluster.objects.retain(|row| stays(&row.namespace));
    }
}
