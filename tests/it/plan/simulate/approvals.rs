//! Approvals as the store keeps them; codes are drawn in order instead of by chance.

use codex_k8s::{
    domain::approval::{Approval, ApprovalId, ApprovalState},
    plan::{Action, ActionKind},
};

use crate::plan::world::World;

impl World {
    /// Performs a record of an approval by compare-and-set.
    pub(super) fn record_approval(&mut self, action: &Action) -> Result<(), String> {
        match &action.kind {
            ActionKind::RecordApproval { approval, event } => {
                if self.rows.approvals.iter().any(|row| row.id == approval.id) {
                    return Ok(());
                }
                assert!(approval.state.is_beginning(), "{}", approval.state);
                let mut row = approval.as_ref().clone();
                row.code = (row.state == ApprovalState::Requested).then(|| self.draw_code());
                self.rows.approvals.push(row);
                self.recorded.push(event.clone());
            }
            ActionKind::MoveApproval {
                approval,
                from,
                to,
                decision,
                reason,
                event,
            } => {
                let row = self.approval_mut(*approval);
                if row.state != *from || !from.may_become(*to) {
                    return Err(format!(
                        "approval {approval} may not go from {from} to {to}"
                    ));
                }
                row.state = *to;
                row.decision = decision.clone().or(row.decision.take());
                row.reason = reason.clone().or(row.reason.take());
                self.recorded.push(event.clone());
            }
            ActionKind::RenewApproval {
                approval,
                posting,
                event,
            } => {
                let code = self.draw_code();
                let row = self.approval_mut(*approval);
                if row.posting != *posting || row.state != ApprovalState::Requested {
                    return Err(format!("approval {approval} has moved on"));
                }
                row.posting += 1;
                row.code = Some(code);
                self.recorded.push(event.clone());
            }
            ActionKind::SettleApproval { approval } => self.approval_mut(*approval).settled = true,
            other => panic!("{} is no record of an approval", other.name()),
        }
        Ok(())
    }

    fn draw_code(&mut self) -> String {
        format!("CODE{}", self.next_id())
    }

    fn approval_mut(&mut self, id: ApprovalId) -> &mut Approval {
        let mut rows = self.rows.approvals.iter_mut();
        rows.find(|row| row.id == id)
            .expect("the approval is there")
    }
}
