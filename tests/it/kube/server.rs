//! The cases, each against the model and, under `real`, against a real API server.

use std::sync::Arc;

use super::support::{Server, Sleeper, TestPods};
use super::{cases, fields, pod_cases, sets};

/// Makes two tests of each case: with pods that `$runner` makes up or, under `$real`,
/// with what `$server` finds.
macro_rules! against_both {
    ($runner:expr, $real:ident, $server:ident; $($module:ident: $($case:ident),+;)+) => {
        $($(
            // A gate may keep one thread waiting while the model answers on another.
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $module::$case(Server::model(Arc::new($runner)).await).await;
            }
        )+)+

        mod $real {
            use super::*;

            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    if let Some(server) = Server::$server() {
                        $module::$case(server).await;
                    }
                }
            )+)+
        }
    };
}

against_both! {
    Sleeper, real, real;
    cases:
        an_apply_that_changes_nothing_writes_nothing,
        what_is_not_ours_is_neither_changed_nor_deleted,
        a_deletion_under_another_uid_touches_nothing,
        a_list_in_many_pages_is_whole,
        the_copied_lease_only_moves_forward,
        nothing_is_sent_while_the_gate_is_closed,
        nothing_is_known_before_the_watches_run;
    fields:
        a_field_that_someone_took_is_taken_back,
        a_field_that_we_no_longer_set_goes_and_that_of_others_stays,
        a_jobs_template_cannot_be_changed,
        what_replaces_an_object_before_the_apply_arrives_is_left_alone,
        what_replaces_an_object_before_its_deletion_arrives_is_left_alone;
    sets:
        a_set_makes_its_namespace_and_all_in_it_and_again_writes_nothing,
        a_set_leaves_alone_what_stood_in_its_namespace_before,
        a_secret_is_applied_unread_and_somebody_elses_left_alone;
}

against_both! {
    Sleeper, real_controllers, real_with_controllers;
    cases:
        a_whole_run_is_applied_listed_watched_and_deleted,
        objects_in_a_missing_or_dying_namespace_are_refused_by_class,
        an_own_write_is_never_missing_from_the_cache;
}

against_both! {
    TestPods::default(), real_pods, real_with_pods;
    pod_cases:
        a_pods_end_becomes_its_jobs_outcome,
        logs_are_read_whole_from_the_end_or_up_to_a_limit,
        a_pod_waits_for_the_secret_it_mounts,
        a_deadline_ends_the_pod_and_fails_its_job,
        a_job_that_goes_in_the_foreground_stands_until_its_pod_has_gone;
}
