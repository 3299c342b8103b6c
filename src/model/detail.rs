//! `statusDetails`: the words that say how a request ended [G 8]. The same in the access log, metrics and error bodies.

macro_rules! details {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// How a request ended, in Google's words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum StatusDetail { $($(#[$doc])* $name,)* }

        impl StatusDetail {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

details! {
    /// A member answered and all of it was sent on.
    ResponseSentByBackend = "response_sent_by_backend",
    /// No TCP or TLS connection to a member.
    FailedToConnectToBackend = "failed_to_connect_to_backend",
    /// A member of an HTTP2 service speaks TLS and no HTTP/2.
    FailedToNegotiateAlpn = "failed_to_negotiate_alpn",
    /// No healthy member with a scaler above 0.
    FailedToPickBackend = "failed_to_pick_backend",
    /// The member closed before the head of an answer.
    BackendConnectionClosedBeforeData = "backend_connection_closed_before_data_sent_to_client",
    /// The member broke off in the middle of a body.
    BackendConnectionClosedAfterPartial = "backend_connection_closed_after_partial_response_sent",
    /// What the member sent is no HTTP/1.1 answer.
    BackendResponseCorrupted = "backend_response_corrupted",
    /// The member's head was over 128 KiB.
    BackendResponseHeadersTooLong = "backend_response_headers_too_long",
    /// `timeoutSec` ran out.
    BackendTimeout = "backend_timeout",
    /// The member answered with an error before the request had ended.
    AbortedRequestDueToEarlyResponse = "aborted_request_due_to_backend_early_response",
    /// No route for host and path, or the service is gone.
    ConfigNotFound = "config_not_found",
    /// A fault of ours.
    InternalError = "internal_error",
    /// The request has passed here before.
    RequestLoopDetected = "request_loop_detected",
    /// Client left before any of the answer was sent.
    ClientDisconnectedBeforeAny = "client_disconnected_before_any_response",
    /// Client left in the middle of the answer.
    ClientDisconnectedAfterPartial = "client_disconnected_after_partial_response",
    /// Client too slow with its request.
    ClientTimedOut = "client_timed_out",
    /// Request line and headers over 60 KiB (64 classic).
    HeadersTooLong = "headers_too_long",
    /// Not parsable as HTTP/1.
    FailedParsingClientHeaders = "failed_parsing_client_headers",
    /// Parsable and forbidden, such as two lengths.
    InvalidRequestHeaders = "invalid_request_headers",
    /// A head of HTTP/2 that says something forbidden, or leaves something out.
    InvalidHttp2ClientHeaderFormat = "invalid_http2_client_header_format",
    /// `:path` of HTTP/2 that is no path.
    InvalidHttp2ClientRequestPath = "invalid_http2_client_request_path",
    /// A version other than 1.0, 1.1 and 2.
    HttpVersionNotSupported = "http_version_not_supported",
    /// Bad chunk framing in a request body.
    InvalidChunkFraming = "invalid_chunk_framing",
    /// CONNECT and TRACE.
    UnsupportedMethod = "unsupported_method",
    /// An upgrade to something other than WebSocket.
    UpgradeHeaderRejected = "upgrade_header_rejected",
    /// A WebSocket was opened and has ended.
    WebsocketClosed = "websocket_closed",
    /// The member refused the WebSocket.
    WebsocketHandshakeFailed = "websocket_handshake_failed",
    /// **Ours**: everything is full, and the service says `overload: REJECT`.
    Overloaded = "overloaded",
    /// **Ours**: over a limit of `circuitBreakers`.
    CircuitBreakerOpen = "circuit_breaker_open",
    /// **Ours**: a client of an SSL proxy broke off the TLS handshake, or spoke no TLS.
    TlsHandshakeFailed = "tls_handshake_failed",
    /// **Ours**: a client spoke HTTP in clear where TLS is spoken.
    PlainHttpToTls = "plain_http_to_tls",
    /// A certificate was asked for, and the client showed none.
    ClientCertNotProvided = "client_cert_not_provided",
    /// The client's certificate leads to no trust anchor, or is not valid now.
    ClientCertValidationFailed = "client_cert_validation_failed",
    /// The client's certificate is not one for clients.
    ClientCertInvalidEku = "client_cert_chain_invalid_eku",
    /// The client's certificate has a key, or a signature, of a kind that we do not know.
    ClientCertUnsupportedKey = "client_cert_unsupported_key_algorithm",
    /// **Ours**: the time that a connection had left was over, after its member or its forwarding rule had been taken
    /// away, or when the process stopped.
    ConnectionDrained = "connection_drained",
    /// A redirect: to the normal form of a path with `/../`, or where the URL map says.
    DirectResponse = "direct_response",
    /// `faultInjectionPolicy` answered in the place of a service.
    FaultFilterAbort = "fault_filter_abort",
}
