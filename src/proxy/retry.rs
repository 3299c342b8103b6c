//! Pure: after a failed attempt, once more? Built-in retries [G 5.7, 5.8].

use super::failure::Stage;

/// What became of the request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyState {
    /// There is none: the request can be sent again as it is.
    None,
    /// There is one, and none of it has been read from the client.
    Untouched,
    /// Some of it has been sent: it is gone.
    Spent,
}

/// Attempts on another member after a request was sent [G 5.7].
pub(crate) const MAX_RETRIES: u32 = 1;
/// Attempts on another member after a refused connection: nothing was sent, so trying on is safe for any method
/// (**ours**: a dead member costs no request as long as another one lives).
pub(crate) const MAX_CONNECT_RETRIES: u32 = 3;

/// Whether the request goes out once more to the same member on a fresh connection: the kept one had been closed by
/// the member in the meantime, which is nobody's fault.
pub(crate) const fn may_replay(stage: Stage, body: BodyState, is_idempotent: bool) -> bool {
    match stage {
        Stage::Unsent => !matches!(body, BodyState::Spent),
        Stage::Reused => matches!(body, BodyState::None) && is_idempotent,
        _ => false,
    }
}

/// Whether the request goes to another member. `retries`: how often it did already.
pub(crate) const fn may_retry(stage: Stage, body: BodyState, is_idempotent: bool, retries: u32) -> bool {
    match stage {
        Stage::Client | Stage::Pick => false,
        Stage::Connect | Stage::Unsent => !matches!(body, BodyState::Spent) && retries < MAX_CONNECT_RETRIES,
        Stage::Reused | Stage::Sent | Stage::Timeout | Stage::Answer => {
            matches!(body, BodyState::None) && is_idempotent && retries < MAX_RETRIES
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g_5_7_a_request_without_body_is_retried_once_on_another_member() {
        for stage in [Stage::Sent, Stage::Timeout, Stage::Answer, Stage::Reused] {
            assert!(may_retry(stage, BodyState::None, true, 0));
            assert!(!may_retry(stage, BodyState::None, true, 1));
        }
    }

    #[test]
    fn g_5_7_a_request_with_a_body_is_not_retried_once_it_was_sent() {
        assert!(!may_retry(Stage::Sent, BodyState::Spent, true, 0));
        assert!(!may_replay(Stage::Reused, BodyState::Spent, true));
    }

    #[test]
    fn a_refused_connection_moves_any_request_on() {
        assert!(may_retry(Stage::Connect, BodyState::Untouched, false, 0));
        assert!(!may_retry(Stage::Connect, BodyState::Untouched, false, MAX_CONNECT_RETRIES));
        assert!(!may_retry(Stage::Connect, BodyState::Spent, true, 0));
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
        assert!(!may_retry(Stage::Sent, BodyState::None, false, 0));
        assert!(!may_replay(Stage::Reused, BodyState::None, false));
    }

    #[test]
    fn what_the_client_did_wrong_is_never_tried_again() {
        assert!(!may_retry(Stage::Client, BodyState::None, true, 0));
        assert!(!may_retry(Stage::Pick, BodyState::None, true, 0));
    }
}
