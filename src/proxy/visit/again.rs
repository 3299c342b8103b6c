//! What a route adds to a request's attempts: time that passes first, and attempts by its own rules [G 5.2, 7c].

use super::{Reached, Visit};
use crate::clock;
use crate::ledger::breaker::Limit;
use crate::ledger::budget::Retry;
use crate::ledger::service::Extra;
use crate::model::unit::Span;
use crate::proxy::failure::{Failure, Stage};
use crate::proxy::retry::Refused;
use crate::proxy::serve::HEAD_TIMEOUT;
use crate::proxy::{breaker, headers, retry};

impl Visit {
    /// Lets time pass, on purpose.
    pub(super) async fn wait(&mut self, delay: Span) {
        self.record.client.watched.set_deadline(clock::now() + delay + HEAD_TIMEOUT);
        tokio::time::sleep(delay.to_std()).await;
        self.began = clock::now();
    }

    /// Whether a failed attempt is followed by another one.
    pub(super) fn may_try_again(&self, failure: Failure) -> bool {
        if failure.stage == Stage::Timeout && self.is_late() {
            return false;
        }
        let (body, is_idempotent) = (self.outbound.state(), self.outbound.is_idempotent());
        retry::may_retry(failure.stage, body, is_idempotent, (self.retries, self.session.retry.as_deref()))
    }

    /// Room for a retry after an attempt that came so far: under `maxRetries`, and in the retry budget. A request has
    /// one retry under way at most, and keeps its room until its record closes.
    pub(super) fn may_retry_now(&mut self, stage: Stage) -> bool {
        self.record.permits.1 = None;
        let service = &self.session.service;
        let most = service.config.policies.circuit_breakers.max_retries;
        let Ok(permit) = breaker::enter(&self.record.client, service, Limit::Retries, most) else {
            self.record.retry_refused = Some(Refused::MaxRetries);
            return false;
        };
        self.record.permits.1 = permit;
        if !retry::is_budgeted(stage) || self.record.retry.is_some() {
            return true;
        }
        let percent = self.record.world.config.proxy.limits.retry_budget;
        self.record.retry = Retry::take(&service.ledger, percent);
        if self.record.retry.is_none() {
            service.ledger.count_extra(self.record.client.context.worker, Extra::RetriesRefused);
            self.record.retry_refused = Some(Refused::RetryBudget);
            self.record.permits.1 = None;
        }
        self.record.retry.is_some()
    }

    /// Whether the time that the route lets all attempts take is over.
    fn is_late(&self) -> bool {
        self.record.is_late(clock::now())
    }

    /// Whether the route wants another answer than this one.
    pub(super) fn is_unwanted(&self, reached: &Reached) -> bool {
        let policy = self.session.retry.as_deref();
        policy.is_some() && {
            let (body, is_idempotent) = (self.outbound.state(), self.outbound.is_idempotent());
            let status = reached.response.status().as_u16();
            let grpc = headers::grpc_status(reached.response.headers());
            retry::may_retry_answer((status, grpc), body, is_idempotent, (self.retries, policy))
                && !self.is_late()
        }
    }

    /// Another member is to answer. The connection ends with the answer that nobody reads.
    pub(super) fn throw_away(&mut self, reached: Reached) {
        self.judge_answer(reached.response.status());
        self.exclude();
    }
}
