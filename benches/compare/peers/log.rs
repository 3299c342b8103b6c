//! The line that all proxies log for a request: what Overspill writes by itself, in each peer's own words, so that all
//! write as much. What a peer does not know stands there as text.

/// Of all requests where nearly everything is on: this many in a hundred are logged.
pub(crate) const SAMPLED: u32 = 1;

/// What a proxy calls what the line tells, each as it is to be written.
struct Words {
    time: &'static str,
    status: &'static str,
    bytes_up: &'static str,
    bytes_down: &'static str,
    method: &'static str,
    url: &'static str,
    protocol: &'static str,
    agent: &'static str,
    client: &'static str,
    server: &'static str,
    latency: &'static str,
    trace: &'static str,
}

impl Words {
    fn line(&self) -> String {
        format!(
            "{{\"timestamp\":\"{}\",\"severity\":\"INFO\",\"httpRequest\":{{\"status\":{},\"requestSize\":\"{}\",\
             \"responseSize\":\"{}\",\"requestMethod\":\"{}\",\"requestUrl\":\"{}\",\"protocol\":\"{}\",\
             \"userAgent\":\"{}\",\"remoteIp\":\"{}\",\"serverIp\":\"{}\",\"latency\":\"{}\"}},\
             \"resource\":{{\"type\":\"http_load_balancer\",\"labels\":{{\"zone\":\"global\",\
             \"backend_service_name\":\"web\",\"forwarding_rule_name\":\"web\",\"target_proxy_name\":\"web-proxy\",\
             \"url_map_name\":\"web-map\"}}}},\"jsonPayload\":{{\
             \"@type\":\"type.googleapis.com/google.cloud.loadbalancing.type.LoadBalancerLogEntry\",\
             \"statusDetails\":\"response_sent_by_backend\",\"backend\":\"ig-far\",\"member\":\"far-1\",\
             \"memberAddress\":\"{}\",\"spillReason\":\"near_full\",\"attempts\":1}},\"trace\":\"{}\",\
             \"spanId\":\"7716900290864775453\"}}",
            self.time,
            self.status,
            self.bytes_up,
            self.bytes_down,
            self.method,
            self.url,
            self.protocol,
            self.agent,
            self.client,
            self.server,
            self.latency,
            self.server,
            self.trace
        )
    }
}

/// For `log_format … escape=json '…'`.
pub(crate) fn nginx() -> String {
    Words {
        time: "$time_iso8601",
        status: "$status",
        bytes_up: "$content_length",
        bytes_down: "$body_bytes_sent",
        method: "$request_method",
        url: "$scheme://$http_host$request_uri",
        protocol: "$server_protocol",
        agent: "$http_user_agent",
        client: "$remote_addr",
        server: "$upstream_addr",
        latency: "${request_time}s",
        trace: "$request_id",
    }
    .line()
}

/// For `log-format '…'`, with the host and the user agent captured, in this order.
pub(crate) fn haproxy() -> String {
    Words {
        time: "%t",
        status: "%ST",
        bytes_up: "%U",
        bytes_down: "%B",
        method: "%HM",
        url: "http://%[capture.req.hdr(0)]%HU",
        protocol: "%HV",
        agent: "%[capture.req.hdr(1)]",
        client: "%ci",
        server: "%si",
        latency: "%Ta",
        trace: "%[uuid]",
    }
    .line()
}

/// For `inline_string`, in the double quotes of YAML.
pub(crate) fn envoy() -> String {
    let line = Words {
        time: "%START_TIME%",
        status: "%RESPONSE_CODE%",
        bytes_up: "%BYTES_RECEIVED%",
        bytes_down: "%BYTES_SENT%",
        method: "%REQ(:METHOD)%",
        url: "%REQ(:SCHEME)%://%REQ(:AUTHORITY)%%REQ(:PATH)%",
        protocol: "%PROTOCOL%",
        agent: "%REQ(USER-AGENT)%",
        client: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        server: "%UPSTREAM_HOST%",
        latency: "%DURATION%ms",
        trace: "%REQ(X-REQUEST-ID)%",
    }
    .line();
    line.replace('"', "\\\"") + "\\n"
}
