//! Rows of approvals, each one holder transaction; the codes are drawn here.

use super::{ActionError, Performing};
use crate::{
    domain::approval::{ApprovalState, code_from},
    plan::ActionKind,
    store::{ApprovalStep, HolderTx},
};

impl Performing<'_> {
    /// Performs a record of an approval.
    pub(super) async fn record_approval(&self, tx: &mut HolderTx) -> Result<(), ActionError> {
        match &self.action.kind {
            ActionKind::RecordApproval { approval, event } => {
                let mut new = approval.as_ref().clone();
                new.code = (new.state == ApprovalState::Requested).then(draw_code);
                tx.insert_approval(&new, event).await?;
            }
            ActionKind::MoveApproval {
                approval,
                from,
                to,
                decision,
                reason,
                event,
            } => {
                let step = ApprovalStep {
                    approval: *approval,
                    from: *from,
                    to: *to,
                    decision: decision.as_ref(),
                    reason: reason.as_deref(),
                    event,
                };
                tx.move_approval(&step).await?;
            }
            ActionKind::RenewApproval {
                approval,
                posting,
                event,
            } => {
                tx.renew_approval(*approval, *posting, &draw_code(), event)
                    .await?;
            }
            ActionKind::SettleApproval { approval } => {
                tx.mark_approval_settled(*approval).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// A new code for people to name a request by.
fn draw_code() -> String {
    code_from(uuid::Uuid::new_v4().into_bytes())
}
