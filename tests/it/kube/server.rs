//! The cases, each against the model and, under `real`, against a real API server.

use std::sync::Arc;

use super::support::{Server, Sleeper};
use super::{cases, sets};

/// Makes two tests of each case.
macro_rules! against_both {
    ($($module:ident: $($case:ident),+;)+) => {
        $($(
            #[tokio::test]
            async fn $case() {
                $module::$case(Server::model(Arc::new(Sleeper)).await).await;
            }
        )+)+

        mod real {
            use super::{Server, cases, sets};

            $($(
                #[tokio::test]
                async fn $case() {
                    if let Some(server) = Server::real() {
                        $module::$case(server).await;
                    }
                }
            )+)+
        }
    };
}

against_both! {
    cases:
        a_whole_run_is_applied_listed_watched_and_deleted,
        an_apply_that_changes_nothing_writes_nothing,
        a_field_that_someone_took_is_taken_back,
        what_is_not_ours_is_neither_changed_nor_deleted,
        a_deletion_under_another_uid_touches_nothing,
        a_list_in_many_pages_is_whole,
        objects_in_a_missing_or_dying_namespace_are_refused_by_class,
        the_copied_lease_only_moves_forward,
        nothing_is_sent_while_the_gate_is_closed,
        nothing_is_known_before_the_watches_run,
        an_own_write_is_never_missing_from_the_cache;
    sets:
        a_set_makes_its_namespace_and_all_in_it_and_again_writes_nothing,
        a_set_leaves_alone_what_stood_in_its_namespace_before;
}
