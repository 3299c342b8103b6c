//! The least reverse proxy that Pingora makes: one origin, the headers that all peers add, keep-alive on both sides.

use std::env;

use async_trait::async_trait;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

struct Proxy {
    origin: String,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.origin.as_str(), false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _: &mut (),
    ) -> Result<()> {
        let client = session.client_addr().and_then(|address| address.as_inet());
        if let Some(client) = client {
            request.insert_header("X-Forwarded-For", client.ip().to_string())?;
        }
        request.insert_header("X-Forwarded-Proto", "http")?;
        request.insert_header("Via", "1.1 google")?;
        let trace = format!("{:032x}/1;o=0", rand::random::<u128>());
        request.insert_header("X-Cloud-Trace-Context", trace)
    }

    async fn response_filter(&self, _: &mut Session, response: &mut ResponseHeader, _: &mut ()) -> Result<()>
    where
        Self::CTX: Send + Sync,
    {
        response.append_header("Via", "1.1 google")?;
        Ok(())
    }
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if arguments.iter().any(|argument| argument == "--version") {
        println!("pingora 0.8, one origin");
        return;
    }
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let (Some(listen), Some(origin)) = (value("--listen"), value("--origin")) else {
        eprintln!("--listen ADDRESS --origin ADDRESS [--threads N]");
        return;
    };
    let threads = value("--threads").and_then(|threads| threads.parse().ok()).unwrap_or(1);
    // One thread each, which leaves no work to be stolen.
    let conf = ServerConf {
        threads,
        work_stealing: threads > 1,
        upstream_keepalive_pool_size: 2048,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Proxy { origin });
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
