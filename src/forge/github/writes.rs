//! Changing requests over REST: each is sent once and asks the write gate first.

use http::Method;
use serde_json::{Value, json};

use super::{
    GithubForge,
    client::Call,
    paths::{repo_path, segment},
    reads::object,
    wire::{WireComment, WireLabel, WirePull},
};
use crate::{
    domain::{
        forge::{Comment, LabelRecord, PullRequest},
        ids::{CommentId, IssueNumber, LabelName},
    },
    forge::{ForgeErrorKind, ForgeResult, NewPull, PullEdit, Purpose, RepositoryRef},
};

fn comment_on(repository: &RepositoryRef, number: IssueNumber, wire: WireComment) -> Comment {
    let record = wire.record(repository.id, Some(number));
    record.expect("a comment whose subject is given is always a record")
}

impl GithubForge {
    pub(super) async fn put_labels(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        labels: &[LabelName],
    ) -> ForgeResult<()> {
        let names: Vec<&str> = labels.iter().map(LabelName::as_str).collect();
        let path = format!("{}/issues/{number}/labels", repo_path(&repository.name));
        let (about, body) = (object(repository, number), json!({ "labels": names }));
        let call = Call::send(Method::POST, Purpose::WriteLabel, about, path, body);
        self.client.call(&call).await.map(drop)
    }

    pub(super) async fn take_label(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        label: &LabelName,
    ) -> ForgeResult<()> {
        let base = repo_path(&repository.name);
        let path = format!("{base}/issues/{number}/labels/{}", segment(label.as_str()));
        let about = object(repository, number);
        let call = Call::send(
            Method::DELETE,
            Purpose::WriteLabel,
            about,
            path,
            Value::Null,
        );
        match self.client.call(&call).await {
            Err(error) if !error.is_absent() => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) async fn make_label(
        &self,
        repository: &RepositoryRef,
        label: &LabelRecord,
    ) -> ForgeResult<LabelRecord> {
        let base = repo_path(&repository.name);
        let about = format!("label {} of {repository}", label.name);
        let path = format!("{base}/labels/{}", segment(label.name.as_str()));
        let get = Call::get(Purpose::Labels, &about, path);
        match self.client.json::<WireLabel>(&get).await {
            Err(error) if error.is_absent() => {}
            there => return there.map(LabelRecord::from),
        }
        let body = json!({
            "name": label.name.as_str(),
            "color": label.colour,
            "description": label.description,
        });
        let path = format!("{base}/labels");
        let call = Call::send(Method::POST, Purpose::WriteLabel, about, path, body);
        match self.client.json::<WireLabel>(&call).await {
            // Someone else defined it in between.
            Err(error)
                if error.kind == ForgeErrorKind::Unprocessable
                    && error.message.contains("already_exists") =>
            {
                self.client.json::<WireLabel>(&get).await
            }
            made => made,
        }
        .map(LabelRecord::from)
    }

    pub(super) async fn patch_label(
        &self,
        repository: &RepositoryRef,
        label: &LabelRecord,
    ) -> ForgeResult<LabelRecord> {
        let base = repo_path(&repository.name);
        let about = format!("label {} of {repository}", label.name);
        let path = format!("{base}/labels/{}", segment(label.name.as_str()));
        let body = json!({ "color": label.colour, "description": label.description });
        let wire: WireLabel = self
            .change(Method::PATCH, Purpose::WriteLabel, about, path, body)
            .await?;
        Ok(wire.into())
    }

    pub(super) async fn post_comment(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        body: &str,
    ) -> ForgeResult<Comment> {
        let path = format!("{}/issues/{number}/comments", repo_path(&repository.name));
        let about = object(repository, number);
        let wire = self
            .change(
                Method::POST,
                Purpose::WriteComment,
                about,
                path,
                json!({ "body": body }),
            )
            .await?;
        Ok(comment_on(repository, number, wire))
    }

    pub(super) async fn patch_comment(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        comment: CommentId,
        body: &str,
    ) -> ForgeResult<Comment> {
        let path = format!("{}/issues/comments/{comment}", repo_path(&repository.name));
        let about = format!("comment {comment} on {}", object(repository, number));
        let wire = self
            .change(
                Method::PATCH,
                Purpose::WriteComment,
                about,
                path,
                json!({ "body": body }),
            )
            .await?;
        Ok(comment_on(repository, number, wire))
    }

    pub(super) async fn drop_comment(
        &self,
        repository: &RepositoryRef,
        comment: CommentId,
    ) -> ForgeResult<()> {
        let path = format!("{}/issues/comments/{comment}", repo_path(&repository.name));
        let about = format!("comment {comment} in {repository}");
        let call = Call::send(
            Method::DELETE,
            Purpose::WriteComment,
            about,
            path,
            Value::Null,
        );
        match self.client.call(&call).await {
            Err(error) if !error.is_absent() => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) async fn open_pull(
        &self,
        repository: &RepositoryRef,
        pull: &NewPull,
    ) -> ForgeResult<PullRequest> {
        let body = json!({
            "title": pull.title,
            "body": pull.body,
            "head": pull.head.as_str(),
            "base": pull.base.as_str(),
            "draft": pull.draft,
            "maintainer_can_modify": false,
        });
        let path = format!("{}/pulls", repo_path(&repository.name));
        let about = format!("{} of {repository}", pull.head);
        let wire: WirePull = self
            .change(Method::POST, Purpose::WritePull, about, path, body)
            .await?;
        Ok(wire.record(repository.id))
    }

    pub(super) async fn patch_pull(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        edit: &PullEdit,
    ) -> ForgeResult<PullRequest> {
        let mut body = serde_json::Map::new();
        let base = edit.base.as_ref().map(|base| base.as_str().to_owned());
        for (name, value) in [
            ("title", &edit.title),
            ("body", &edit.body),
            ("base", &base),
        ] {
            if let Some(value) = value {
                body.insert(name.to_owned(), Value::from(value.as_str()));
            }
        }
        let path = format!("{}/pulls/{number}", repo_path(&repository.name));
        let about = object(repository, number);
        let wire: WirePull = self
            .change(
                Method::PATCH,
                Purpose::WritePull,
                about,
                path,
                Value::Object(body),
            )
            .await?;
        Ok(wire.record(repository.id))
    }

    pub(super) async fn put_variable(
        &self,
        repository: &RepositoryRef,
        name: &str,
        value: &str,
    ) -> ForgeResult<()> {
        let base = format!("{}/actions/variables", repo_path(&repository.name));
        let about = format!("{name} of {repository}");
        let send = |method: Method, path: String| {
            let body = json!({ "name": name, "value": value });
            Call::send(method, Purpose::WriteVariable, &about, path, body)
        };
        let change = send(Method::PATCH, format!("{base}/{}", segment(name)));
        match self.read_variable(repository, name).await? {
            Some(there) if there == value => return Ok(()),
            Some(_) => return self.client.call(&change).await.map(drop),
            None => {}
        }
        match self.client.call(&send(Method::POST, base)).await {
            // Someone else made it in between.
            Err(error) if error.kind == ForgeErrorKind::Conflict => {
                self.client.call(&change).await.map(drop)
            }
            made => made.map(drop),
        }
    }
}
