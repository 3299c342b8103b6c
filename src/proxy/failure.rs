//! Why an attempt or a request failed: whose fault, at what stage, whether another attempt is safe, and Google's word.

use crate::model::detail::StatusDetail;
use crate::model::service::Scheme;

/// What a request counts as that no service has met.
pub(crate) const WITHOUT_SERVICE: Scheme = Scheme::ExternalManaged;

/// A failed request, ready to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    /// How far it came.
    pub(crate) stage: Stage,
    /// Google's word.
    pub(crate) detail: StatusDetail,
}

/// How far an attempt came before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The request itself is at fault: never tried again.
    Client,
    /// No member could be chosen.
    Pick,
    /// No connection: nothing was sent.
    Connect,
    /// A kept connection was dead before a byte of the request had gone out.
    Unsent,
    /// A kept connection turned out dead before any byte of an answer.
    Reused,
    /// A fresh connection ended before any byte of an answer.
    Sent,
    /// `timeoutSec` ran out.
    Timeout,
    /// What came back is no answer.
    Answer,
}

impl Failure {
    /// A failure of the client's making.
    pub(crate) const fn client(detail: StatusDetail) -> Self {
        Self { stage: Stage::Client, detail }
    }

    /// Status for the client [G 8; 4.16; 5.3]: 502 on the classic scheme and 503 on managed ones where Google lists
    /// both; 504 for timeouts on the Envoy-based scheme.
    pub(crate) const fn status(self, scheme: Scheme) -> u16 {
        use StatusDetail as D;
        match self.detail {
            D::ConfigNotFound => 404,
            D::ClientTimedOut => 408,
            D::HeadersTooLong => 413,
            D::FailedParsingClientHeaders
            | D::InvalidRequestHeaders
            | D::InvalidHttp2ClientHeaderFormat
            | D::InvalidHttp2ClientRequestPath
            | D::HttpVersionNotSupported
            | D::InvalidChunkFraming
            | D::UnsupportedMethod
            | D::UpgradeHeaderRejected => 400,
            D::InternalError => 500,
            D::Overloaded => 503,
            D::BackendTimeout if matches!(scheme, Scheme::InternalManaged) => 504,
            _ => scheme.backend_failure_status(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overload_is_503_on_every_scheme_and_no_healthy_member_502_on_the_classic_one() {
        let status = |detail, scheme| Failure { stage: Stage::Pick, detail }.status(scheme);
        let schemes = [Scheme::External, Scheme::ExternalManaged, Scheme::InternalManaged];
        assert_eq!(schemes.map(|scheme| status(StatusDetail::Overloaded, scheme)), [503, 503, 503]);
        assert_eq!(schemes.map(|scheme| status(StatusDetail::FailedToPickBackend, scheme)), [502, 503, 503]);
    }
}
