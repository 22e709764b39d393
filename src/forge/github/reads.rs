//! Reads over REST: lists are whole or an error.

use chrono::TimeDelta;
use http::Method;
use serde_json::Value;

use super::{
    GithubForge,
    client::{Call, decode},
    paths::{Query, repo_path, segment, segments},
    wire::{
        WireApp, WireBudgets, WireComment, WireEvent, WireIssue, WireLabel, WirePermission,
        WirePull, WireRef, WireRepository, WireReview, WireUser, WireVariable, WireVariables,
    },
};
use crate::{
    domain::{
        Timestamp,
        forge::{
            AccountKind, Actor, Comment, Issue, LabelRecord, OwnIdentity, Permission, PullRequest,
            RepositoryRecord, Review, VariableRecord,
        },
        ids::{BranchName, CommitSha, EventId, IssueNumber, LabelName, RepositoryName},
        mirror::IdentityRecord,
    },
    forge::{
        Account, CommentFilter, EventsQuery, EventsRead, ForgeError, ForgeErrorKind, ForgeResult,
        PullFilter, Purpose, RepositoryRef, SincePage,
    },
};

/// A high-water mark younger than this is read again: GitHub's update times
/// have whole seconds, and lists show a change a little late.
const YOUNG: TimeDelta = TimeDelta::seconds(5);

/// The newest high-water mark that an answer of this time vouches for.
pub(super) fn steady(date: Timestamp) -> Timestamp {
    date - YOUNG
}

/// The largest page of variables.
const MOST_VARIABLES: u8 = 30;

impl GithubForge {
    pub(super) async fn read_identity(&self) -> ForgeResult<IdentityRecord> {
        let name = &self.client.settings.credential_name;
        let get = |path: String| Call::get(Purpose::Identity, name, path);
        let identity = if self.client.is_app() {
            let call = get("/app".to_owned());
            let app: WireApp = decode(&call, &self.client.call_as_app(&call).await?.body)?;
            let slug = app.slug.unwrap_or_default();
            let bot = get(format!("/users/{}", segment(&format!("{slug}[bot]"))));
            let actor = Actor::from(self.client.json::<WireUser>(&bot).await?);
            OwnIdentity {
                actor: Actor {
                    kind: AccountKind::Bot,
                    ..actor
                },
                app_slug: Some(slug),
            }
        } else {
            OwnIdentity {
                actor: self
                    .client
                    .json::<WireUser>(&get("/user".to_owned()))
                    .await?
                    .into(),
                app_slug: None,
            }
        };
        Ok(IdentityRecord {
            credential: name.clone(),
            identity,
        })
    }

    /// Reads what is left of the budgets; GitHub does not charge for it.
    pub(super) async fn read_budget(&self) -> ForgeResult<()> {
        let name = &self.client.settings.credential_name;
        let call = Call::get(Purpose::Budget, name, "/rate_limit");
        let answer = match self.client.call(&call).await {
            // A server of one's own grants without limit and says so by having no such address.
            Err(error) if error.is_absent() => return Ok(()),
            answer => answer?,
        };
        let wire: WireBudgets = decode(&call, &answer.body)?;
        for (resource, left) in [
            ("core", wire.resources.core),
            ("graphql", wire.resources.graphql),
        ] {
            if let Some(left) = left {
                self.client.note_budget(resource, left.into(), answer.date);
            }
        }
        Ok(())
    }

    pub(super) async fn read_repository(
        &self,
        name: &RepositoryName,
    ) -> ForgeResult<RepositoryRecord> {
        let call = Call::get(Purpose::Repository, name, repo_path(name));
        Ok(self.client.json::<WireRepository>(&call).await?.into())
    }

    pub(super) async fn read_issues_since(
        &self,
        repository: &RepositoryRef,
        since: Option<Timestamp>,
    ) -> ForgeResult<SincePage<Issue>> {
        let path = Query::new(format!("{}/issues", repo_path(&repository.name)))
            .with("state", "all")
            .with("sort", "updated")
            .with("direction", "asc")
            .with_time("since", since)
            .page_size();
        let mut call = Call::get(Purpose::Issues, repository, path);
        let mut wire: Vec<WireIssue> = Vec::new();
        let (more, date) = loop {
            let answer = self.client.call(&call).await?;
            wire.extend(decode::<Vec<WireIssue>>(&call, &answer.body)?);
            // More than a page with one and the same time: only then by page number.
            match answer.next {
                Some(next) if wire.last().map(|last| last.updated_at) == since => call.path = next,
                next => break (next.is_some(), answer.date),
            }
        };
        let newest = wire.iter().map(|issue| issue.updated_at).max();
        let steady = newest.map(|newest| newest.min(steady(date)));
        Ok(SincePage {
            go_on: newest.filter(|_| more),
            cursor: steady.max(since),
            items: wire
                .into_iter()
                .map(|issue| issue.record(repository.id))
                .collect(),
        })
    }

    /// The newest update time: the fingerprint where GraphQL is missing.
    pub(super) async fn read_newest_updates(
        &self,
        repository: &RepositoryRef,
    ) -> ForgeResult<(Option<Timestamp>, i64)> {
        let path = Query::new(format!("{}/issues", repo_path(&repository.name)))
            .with("state", "all")
            .with("sort", "updated")
            .with("direction", "desc")
            .page_size();
        let call = Call::get(Purpose::Detect, repository, path);
        let wire: Vec<WireIssue> = self.client.json(&call).await?;
        let newest = wire.iter().map(|issue| issue.updated_at).max();
        Ok((newest, i64::try_from(wire.len()).unwrap_or(i64::MAX)))
    }

    pub(super) async fn read_issues_with_label(
        &self,
        repository: &RepositoryRef,
        label: &LabelName,
    ) -> ForgeResult<Vec<Issue>> {
        // GitHub's list of labels is separated by commas: a name with one
        // cannot be asked for.
        let path = Query::new(format!("{}/issues", repo_path(&repository.name)))
            .with("state", "open")
            .with("labels", label.as_str())
            .page_size();
        let wire: Vec<WireIssue> = self
            .client
            .all(Call::get(Purpose::Issues, repository, path))
            .await?;
        Ok(wire
            .into_iter()
            .map(|issue| issue.record(repository.id))
            .collect())
    }

    pub(super) async fn read_issue(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> ForgeResult<Issue> {
        let path = format!("{}/issues/{number}", repo_path(&repository.name));
        let call = Call::get(Purpose::Issue, object(repository, number), path);
        Ok(self
            .client
            .json::<WireIssue>(&call)
            .await?
            .record(repository.id))
    }

    fn events_call(repository: &RepositoryRef) -> Call {
        let path = Query::new(format!("{}/issues/events", repo_path(&repository.name)));
        Call::get(Purpose::Events, repository, path.page_size())
    }

    pub(super) async fn read_newest_event(
        &self,
        repository: &RepositoryRef,
    ) -> ForgeResult<Option<EventId>> {
        let page: Vec<WireEvent> = self.client.json(&Self::events_call(repository)).await?;
        Ok(page.iter().map(|event| EventId(event.id)).max())
    }

    pub(super) async fn read_events(
        &self,
        repository: &RepositoryRef,
        query: EventsQuery,
    ) -> ForgeResult<EventsRead> {
        let EventsQuery {
            back_to,
            max_pages,
            anew,
        } = query;
        let mut call = Self::events_call(repository);
        call.anew = anew;
        let mut read = EventsRead::default();
        let mut pages = 0;
        loop {
            let answer = match self.client.call(&call).await {
                // GitHub pages only so far back.
                Err(error) if end_of_paging(&error, pages, back_to) => return Ok(read),
                other => other?,
            };
            let page: Vec<WireEvent> = decode(&call, &answer.body)?;
            let lowest = page.iter().map(|event| EventId(event.id)).min();
            read.node_ids
                .extend(page.iter().filter_map(|event| event.node_id.clone()));
            read.events.extend(
                page.into_iter()
                    .filter_map(|event| event.record(repository.id)),
            );
            pages += 1;
            let done = match back_to {
                Some(known) => lowest.is_some_and(|lowest| lowest <= known),
                None => pages >= max_pages,
            };
            match answer.next {
                Some(next) if !done => call.path = next,
                _ => return Ok(read),
            }
        }
    }

    pub(super) async fn read_labels(
        &self,
        repository: &RepositoryRef,
    ) -> ForgeResult<Vec<LabelRecord>> {
        let path = Query::new(format!("{}/labels", repo_path(&repository.name))).page_size();
        let wire: Vec<WireLabel> = self
            .client
            .all(Call::get(Purpose::Labels, repository, path))
            .await?;
        Ok(wire.into_iter().map(LabelRecord::from).collect())
    }

    pub(super) async fn read_pulls(
        &self,
        repository: &RepositoryRef,
        filter: &PullFilter,
    ) -> ForgeResult<Vec<PullRequest>> {
        let path =
            Query::new(format!("{}/pulls", repo_path(&repository.name))).with("state", "all");
        let (path, since) = match filter {
            PullFilter::Head(branch) => {
                let head = format!("{}:{branch}", repository.name.owner);
                (path.with("head", &head), None)
            }
            PullFilter::Since(since) => (
                path.with("sort", "updated").with("direction", "desc"),
                *since,
            ),
        };
        let mut call = Call::get(Purpose::Pulls, repository, path.page_size());
        let mut wire: Vec<WirePull> = Vec::new();
        loop {
            let answer = self.client.call(&call).await?;
            wire.extend(decode::<Vec<WirePull>>(&call, &answer.body)?);
            let oldest = wire.last().map(|pull| pull.updated_at);
            match answer.next {
                Some(next) if since.is_none() || oldest >= since => call.path = next,
                _ => break,
            }
        }
        Ok(wire
            .into_iter()
            .map(|pull| pull.record(repository.id))
            .collect())
    }

    pub(super) async fn read_pull(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> ForgeResult<PullRequest> {
        let path = format!("{}/pulls/{number}", repo_path(&repository.name));
        let call = Call::get(Purpose::Pulls, object(repository, number), path);
        Ok(self
            .client
            .json::<WirePull>(&call)
            .await?
            .record(repository.id))
    }

    pub(super) async fn read_reviews(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> ForgeResult<Vec<Review>> {
        let path = Query::new(format!(
            "{}/pulls/{number}/reviews",
            repo_path(&repository.name)
        ));
        let call = Call::get(
            Purpose::Reviews,
            object(repository, number),
            path.page_size(),
        );
        let wire: Vec<WireReview> = self.client.all(call).await?;
        let records = wire.into_iter();
        Ok(records
            .filter_map(|review| review.record(repository.id, number))
            .collect())
    }

    pub(super) async fn read_comments(
        &self,
        repository: &RepositoryRef,
        filter: CommentFilter,
    ) -> ForgeResult<Vec<Comment>> {
        let base = repo_path(&repository.name);
        let (path, on) = match filter {
            CommentFilter::On(number) => (
                Query::new(format!("{base}/issues/{number}/comments")),
                Some(number),
            ),
            CommentFilter::Since(since) => {
                let path = Query::new(format!("{base}/issues/comments"))
                    .with("sort", "updated")
                    .with("direction", "asc")
                    .with_time("since", since);
                (path, None)
            }
        };
        let call = Call::get(Purpose::Comments, repository, path.page_size());
        let wire: Vec<WireComment> = self.client.all(call).await?;
        let records = wire.into_iter();
        Ok(records
            .filter_map(|comment| comment.record(repository.id, on))
            .collect())
    }

    pub(super) async fn read_review_comments(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> ForgeResult<Vec<Comment>> {
        let path = Query::new(format!(
            "{}/pulls/{number}/comments",
            repo_path(&repository.name)
        ));
        let call = Call::get(
            Purpose::Comments,
            object(repository, number),
            path.page_size(),
        );
        let wire: Vec<WireComment> = self.client.all(call).await?;
        let records = wire.into_iter();
        let mut remarks: Vec<Comment> = records
            .filter_map(|comment| comment.record(repository.id, Some(number)))
            .collect();
        self.mark_resolved(repository, number, &mut remarks).await?;
        Ok(remarks)
    }

    pub(super) async fn read_permission(
        &self,
        repository: &RepositoryRef,
        account: &Account,
    ) -> ForgeResult<Permission> {
        let base = repo_path(&repository.name);
        let path = format!(
            "{base}/collaborators/{}/permission",
            segment(&account.login)
        );
        let call = Call::get(
            Purpose::Permission,
            format!("{} in {repository}", account.login),
            path,
        );
        let wire: WirePermission = match self.client.json(&call).await {
            Err(error) if error.is_absent() => {
                // No such account, unless it is the repository that cannot be seen.
                self.read_repository(&repository.name).await?;
                return Ok(Permission::None);
            }
            other => other?,
        };
        match &wire.user {
            Some(user) if user.id != account.id.0 => {
                let message = format!("the login belongs to account {} by now", user.id);
                Err(call.error(ForgeErrorKind::Conflict, message))
            }
            _ => Ok(wire.record()),
        }
    }

    pub(super) async fn read_variable(
        &self,
        repository: &RepositoryRef,
        name: &str,
    ) -> ForgeResult<Option<String>> {
        let base = repo_path(&repository.name);
        let path = format!("{base}/actions/variables/{}", segment(name));
        let call = Call::get(Purpose::Variable, format!("{name} of {repository}"), path);
        match self.client.json::<WireVariable>(&call).await {
            Ok(wire) => Ok(Some(wire.value)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn read_variables(
        &self,
        repository: &RepositoryRef,
    ) -> ForgeResult<Vec<VariableRecord>> {
        let path = Query::new(format!("{}/actions/variables", repo_path(&repository.name)));
        let mut call = Call::get(Purpose::Variable, repository, path.pages_of(MOST_VARIABLES));
        let mut variables = Vec::new();
        loop {
            let answer = self.client.call(&call).await?;
            let page: WireVariables = decode(&call, &answer.body)?;
            variables.extend(page.variables.into_iter().map(VariableRecord::from));
            match answer.next {
                Some(next) => call.path = next,
                None => return Ok(variables),
            }
        }
    }

    pub(super) async fn read_ref(
        &self,
        repository: &RepositoryRef,
        branch: &BranchName,
    ) -> ForgeResult<Option<CommitSha>> {
        let base = repo_path(&repository.name);
        let path = format!("{base}/git/ref/heads/{}", segments(branch.as_str()));
        let call = Call::get(Purpose::Ref, format!("{branch} of {repository}"), path);
        match self.client.json::<WireRef>(&call).await {
            Ok(wire) => Ok(Some(CommitSha::new(wire.object.sha))),
            // 409 is a repository without any commit.
            Err(error) if error.is_absent() || error.kind == ForgeErrorKind::Conflict => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a changing request and gives its answer back as JSON.
    pub(super) async fn change<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        purpose: Purpose,
        about: impl std::fmt::Display,
        path: String,
        body: Value,
    ) -> ForgeResult<T> {
        self.client
            .json(&Call::send(method, purpose, about, path, body))
            .await
    }
}

/// How errors and reports name a subject.
pub(super) fn object(repository: &RepositoryRef, number: IssueNumber) -> String {
    format!("{repository}#{number}")
}

fn end_of_paging(error: &ForgeError, pages: u32, back_to: Option<EventId>) -> bool {
    error.kind == ForgeErrorKind::Unprocessable && pages > 0 && back_to.is_none()
}
