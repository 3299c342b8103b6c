//! Pure: after a failed attempt, once more? Built-in retries [G 5.7, 5.8].

use super::failure::Stage;
use crate::balance::pick::PATIENCE;
use crate::model::route::action::RetryPolicy;

/// What became of the request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyState {
    /// There is none: the request can be sent again as it is.
    None,
    /// There is one, and none of it has been read from the client.
    Untouched,
    /// There is one, all of it has come, and it was kept.
    Kept,
    /// Some of it has been sent: it is gone.
    Spent,
}

/// The limit that stood in the way of another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// `maxRetries`.
    MaxRetries,
    /// `retryBudgetPercent`.
    RetryBudget,
}

impl Refused {
    /// The word in the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::MaxRetries => "max_retries",
            Self::RetryBudget => "retry_budget",
        }
    }
}

/// Attempts on another member after a request was sent [G 5.7].
pub(crate) const MAX_RETRIES: u32 = 1;
/// Attempts on another member after a refused connection: nothing was sent, so trying on is safe for any method
/// (**ours**: a dead member costs no request as long as another one lives). The last one leaves the tier [`PATIENCE`].
pub(crate) const MAX_CONNECT_RETRIES: u32 = 3;
const _: () = assert!(MAX_CONNECT_RETRIES as usize >= PATIENCE);

/// Whether the request goes out once more to the same member on a fresh connection: the kept one had been closed by
/// the member in the meantime, which is nobody's fault.
pub(crate) const fn may_replay(stage: Stage, body: BodyState, is_idempotent: bool) -> bool {
    match stage {
        Stage::Unsent => !matches!(body, BodyState::Spent),
        Stage::Reused => can_repeat(body, is_idempotent),
        _ => false,
    }
}

/// Whether the request goes to another member. `retries`: how often it did already. A refused connection moves it on
/// whatever the route's policy says.
pub(crate) fn may_retry(
    stage: Stage,
    body: BodyState,
    is_idempotent: bool,
    (retries, policy): (u32, Option<&RetryPolicy>),
) -> bool {
    // Refused connections move a request on at least as often as without a policy.
    let (connects, repeats) = policy.map_or((MAX_CONNECT_RETRIES, MAX_RETRIES), |policy| {
        let moves_on = policy.on_connect_failure || policy.on_server_error;
        let is_refused = policy.on_refused_stream && matches!(stage, Stage::Unsent);
        let connects = if moves_on || is_refused { policy.most } else { 0 };
        let repeats = if policy.on_server_error { policy.most } else { 0 };
        (connects.max(MAX_CONNECT_RETRIES), repeats)
    });
    match stage {
        Stage::Client | Stage::Pick => false,
        Stage::Connect | Stage::Unsent => !matches!(body, BodyState::Spent) && retries < connects,
        Stage::Reused | Stage::Sent | Stage::Timeout | Stage::Answer => {
            can_repeat(body, is_idempotent) && retries < repeats
        }
    }
}

/// Whether an answer of this status, and of this status of gRPC in its head, is thrown away for one of another member.
/// A call of gRPC may be made again, though it is a POST: the policy names the statuses for which that is so.
pub(crate) fn may_retry_answer(
    (status, grpc): (u16, Option<u32>),
    body: BodyState,
    is_idempotent: bool,
    (retries, policy): (u32, Option<&RetryPolicy>),
) -> bool {
    let Some(policy) = policy.filter(|policy| retries < policy.most) else { return false };
    let is_whole = matches!(body, BodyState::None | BodyState::Kept);
    is_whole
        && (is_idempotent && policy.takes(status) || grpc.is_some_and(|status| policy.on_grpc.has(status)))
}

/// Whether the next attempt takes room of the retry budget. It does not where nothing was sent: such a request moves on
/// and is with one member at a time, so that it adds to nobody's work. Nor do replays, which go to the same member, once
/// for each attempt: its own end of a kept connection made them necessary.
pub(crate) const fn is_budgeted(stage: Stage) -> bool {
    !matches!(stage, Stage::Connect | Stage::Unsent)
}

const fn can_repeat(body: BodyState, is_idempotent: bool) -> bool {
    matches!(body, BodyState::None | BodyState::Kept) && is_idempotent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::route::action::GrpcStatuses;

    #[test]
    fn g_5_7_a_request_without_body_is_retried_once_on_another_member() {
        for stage in [Stage::Sent, Stage::Timeout, Stage::Answer, Stage::Reused] {
            assert!(may_retry(stage, BodyState::None, true, (0, None)));
            assert!(!may_retry(stage, BodyState::None, true, (1, None)));
        }
    }

    #[test]
    fn what_was_never_sent_takes_no_room_of_the_budget() {
        assert!([Stage::Connect, Stage::Unsent].iter().all(|stage| !is_budgeted(*stage)));
        let sent = [Stage::Reused, Stage::Sent, Stage::Timeout, Stage::Answer];
        assert!(sent.iter().all(|stage| is_budgeted(*stage)));
    }

    #[test]
    fn g_5_7_a_request_with_a_body_is_not_retried_once_it_was_sent() {
        assert!(!may_retry(Stage::Sent, BodyState::Spent, true, (0, None)));
        assert!(!may_replay(Stage::Reused, BodyState::Spent, true));
    }

    #[test]
    fn a_refused_connection_moves_any_request_on() {
        assert!(may_retry(Stage::Connect, BodyState::Untouched, false, (0, None)));
        assert!(!may_retry(Stage::Connect, BodyState::Untouched, false, (MAX_CONNECT_RETRIES, None)));
        assert!(!may_retry(Stage::Connect, BodyState::Spent, true, (0, None)));
    }

    #[test]
    fn a_dead_kept_connection_is_replayed() {
        assert!(may_replay(Stage::Reused, BodyState::None, true));
        assert!(!may_replay(Stage::Sent, BodyState::None, true));
    }

    #[test]
    fn what_never_went_out_is_replayed_whatever_the_method() {
        assert!(may_replay(Stage::Unsent, BodyState::Untouched, false));
        assert!(!may_replay(Stage::Unsent, BodyState::Spent, false));
    }

    #[test]
    fn what_is_not_idempotent_is_never_sent_twice() {
        assert!(!may_retry(Stage::Sent, BodyState::None, false, (0, None)));
        assert!(!may_replay(Stage::Reused, BodyState::None, false));
    }

    #[test]
    fn what_the_client_did_wrong_is_never_tried_again() {
        assert!(!may_retry(Stage::Client, BodyState::None, true, (0, None)));
        assert!(!may_retry(Stage::Pick, BodyState::None, true, (0, None)));
    }

    const POLICY: RetryPolicy = RetryPolicy {
        most: 5,
        per_try: None,
        on_server_error: false,
        on_gateway_error: false,
        on_connect_failure: false,
        on_conflict: false,
        on_refused_stream: false,
        on_grpc: GrpcStatuses::NONE,
    };

    #[test]
    fn g_5_a_call_of_grpc_is_made_again_for_the_statuses_that_the_policy_names() {
        let words = ["unavailable", "cancelled", "5xx"].map(str::to_owned);
        let policy = RetryPolicy { on_grpc: GrpcStatuses::among(&words), ..POLICY };
        let again = |grpc, body| may_retry_answer((200, grpc), body, false, (4, Some(&policy)));
        let takes = [1, 4, 8, 13, 14, 0, 16, 99].map(|status| again(Some(status), BodyState::Kept));
        assert_eq!(takes, [true, false, false, false, true, false, false, false]);
        assert!(again(Some(14), BodyState::None) && !again(None, BodyState::Kept));
        assert!(!again(Some(14), BodyState::Spent), "it is not kept, or has not come whole");
        assert!(!may_retry_answer((200, Some(14)), BodyState::Kept, false, (5, Some(&policy))));
        let words = ["deadline-exceeded", "internal", "resource-exhausted"].map(str::to_owned);
        let policy = RetryPolicy { on_grpc: GrpcStatuses::among(&words), ..POLICY };
        assert!([4, 13, 8].iter().all(|status| policy.on_grpc.has(*status)));
    }

    #[test]
    fn g_5_a_refused_stream_moves_a_request_on_as_often_as_the_policy_says() {
        let policy = RetryPolicy { on_refused_stream: true, ..POLICY };
        let may = |stage, body, retries| may_retry(stage, body, false, (retries, Some(&policy)));
        assert!(may(Stage::Unsent, BodyState::Kept, 4) && !may(Stage::Unsent, BodyState::Kept, 5));
        assert!(!may(Stage::Unsent, BodyState::Spent, 0) && !may(Stage::Connect, BodyState::None, 4));
    }

    #[test]
    fn g_5_a_kept_body_makes_an_idempotent_request_repeatable_under_a_policy() {
        let any = RetryPolicy { on_server_error: true, ..POLICY };
        let again =
            |is_idempotent| may_retry_answer((503, None), BodyState::Kept, is_idempotent, (0, Some(&any)));
        assert!(again(true) && !again(false), "PUT, and not POST");
        assert!(may_retry(Stage::Sent, BodyState::Kept, true, (0, Some(&any))));
    }

    #[test]
    fn g_5_a_policy_says_which_answers_are_had_again_and_how_often() {
        let again = |status, policy: RetryPolicy, retries| {
            may_retry_answer((status, None), BodyState::None, true, (retries, Some(&policy)))
        };
        let gateway = RetryPolicy { on_gateway_error: true, ..POLICY };
        let statuses = [409, 500, 501, 502, 503, 504, 505];
        assert_eq!(statuses.map(|s| again(s, gateway, 0)), [false, false, false, true, true, true, false]);
        let any = RetryPolicy { on_server_error: true, ..POLICY };
        assert_eq!(statuses.map(|s| again(s, any, 4)), [false, true, true, true, true, true, true]);
        assert!(!again(500, any, 5));
        let conflict = RetryPolicy { on_conflict: true, ..POLICY };
        assert!(again(409, conflict, 0) && !again(404, conflict, 0));
        assert!(
            !may_retry_answer((500, None), BodyState::None, true, (0, None)),
            "5.8: not without a policy"
        );
        assert!(!may_retry_answer((500, None), BodyState::Spent, true, (0, Some(&any))));
        assert!(!may_retry_answer((500, None), BodyState::None, false, (0, Some(&any))));
    }

    #[test]
    fn g_5_a_policy_takes_the_place_of_the_built_in_rules() {
        let may = |stage, policy: RetryPolicy, retries| {
            may_retry(stage, BodyState::None, true, (retries, Some(&policy)))
        };
        let gateway = RetryPolicy { on_gateway_error: true, ..POLICY };
        assert!(!may(Stage::Sent, gateway, 0) && !may(Stage::Timeout, gateway, 0));
        let any = RetryPolicy { on_server_error: true, ..POLICY };
        assert!(may(Stage::Sent, any, 4) && may(Stage::Timeout, any, 4) && !may(Stage::Sent, any, 5));
        // Nothing was sent: always safe, and never less than without a policy.
        assert!(may(Stage::Connect, gateway, 2) && !may(Stage::Connect, gateway, 3));
        let connect = RetryPolicy { on_connect_failure: true, ..POLICY };
        assert!(may(Stage::Connect, connect, 4) && !may(Stage::Sent, connect, 0));
    }
}
