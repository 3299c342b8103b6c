//! Headers of the PROXY protocol in front of everything else (**ours**: `proxyProtocol` of a forwarding rule).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use overspill::ledger::process::Traffic;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::support::backend::{Scripted, toy};
use crate::support::client::{Client, Cut};
use crate::support::lb::Lb;
use crate::support::setup::{Setup, scripted};
use crate::support::tls::{Authority, https};
use crate::support::{PATIENCE, own_address, wait_until};

const V1: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// The same client in version 2, with an extension that nobody reads.
fn v2() -> Vec<u8> {
    let block = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb, 4, 0, 1, 0];
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"[..], &[16], &block].concat()
}

fn local() -> Vec<u8> {
    b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0".to_vec()
}

/// The only forwarding rule takes headers from these.
fn behind(text: &str, from: &str) -> String {
    let rule = "target: web-proxy";
    assert!(text.contains(rule), "{text}");
    text.replace(rule, &format!("{rule}, proxyProtocol: {{from: [{from}]}}"))
}

fn setup(backend: &Scripted, health: &overspill::cli::toy::ToyBackend) -> Setup {
    scripted(backend, health)
}

fn refused(lb: &Lb, reason: &str) -> f64 {
    lb.metrics().sum("overspill_proxy_headers_refused_total", &[&format!("reason=\"{reason}\"")])
}

#[test]
fn the_client_that_a_header_names_is_the_client() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let headers =
        "customRequestHeaders: [\"X-Client:{client_ip_address} {client_port} {server_ip_address}\"]";
    let text = setup(&backend, &health).service(headers).text();
    let lb = Lb::start(&behind(&text, "127.0.0.1"));
    let both = [V1.as_bytes().to_vec(), v2()];
    for header in &both {
        let mut client = lb.client();
        client.send([header, GET.as_bytes()].concat());
        assert_eq!(client.answer().status, 200);
        assert_eq!(client.get("/").status, 200, "one header is for all requests");
    }
    // In pieces of a byte each.
    let mut client = lb.client();
    for byte in [&both[0], &both[1]][1] {
        client.send([*byte]);
    }
    assert_eq!(client.get("/").status, 200);
    for seen in backend.seen() {
        assert_eq!(seen.all("x-forwarded-for"), ["192.0.2.7,198.51.100.1"]);
        assert_eq!(seen.all("x-client"), ["192.0.2.7 4711 198.51.100.1"]);
    }
    assert_eq!(backend.requests(), 5);
}

#[test]
fn a_header_that_names_nobody_leaves_the_sender_as_the_client() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&behind(&setup(&backend, &health).text(), "127.0.0.0/8"));
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), local()] {
        let mut client = Client::from(lb.address(), [127, 0, 0, 9]);
        client.send(header);
        assert_eq!(client.get("/").status, 200);
    }
    for seen in backend.seen() {
        assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.9,127.0.0.1"]);
    }
}

#[test]
fn without_a_good_header_a_connection_ends_without_a_word() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&behind(&setup(&backend, &health).text(), "127.0.0.1"));
    let bad: [&[u8]; 5] = [
        GET.as_bytes(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n",
        b"\x16\x03\x01",
        b"\r\n\r\n\0\r\nQUIT\n\x31",
    ];
    for bytes in bad {
        let mut client = lb.client();
        client.send(bytes);
        client.assert_closed();
    }
    assert_eq!(refused(&lb, "malformed"), bad.len() as f64);
    // A second header is the client's, and no request.
    let mut client = lb.client();
    client.send([V1, V1, GET].concat());
    assert_eq!(client.answer().status, 400);
    assert_eq!(backend.requests(), 0);
    drop(client);
    wait_until("none is left", || lb.open_connections() == 0);
}

#[test]
fn a_header_that_does_not_come_in_time_ends_the_connection() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&behind(&setup(&backend, &health).text(), "127.0.0.1"));
    let mut clients = [lb.client(), lb.client()];
    clients[1].send("PROXY TCP4 ");
    clients.iter_mut().for_each(Client::assert_closed);
    wait_until("both are counted", || refused(&lb, "late") == 2.0);
}

#[test]
fn nobody_else_may_connect() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&behind(&setup(&backend, &health).text(), "127.0.0.1, 10.0.0.0/8"));
    let mut stranger = Client::from(lb.address(), [127, 0, 0, 2]);
    stranger.send([V1, GET].concat());
    assert_eq!(stranger.try_answer("GET").err(), Some(Cut::Before));
    wait_until("it is counted", || refused(&lb, "forbidden") == 1.0);
    let mut sender = Client::from(lb.address(), [127, 0, 0, 1]);
    sender.send([V1, GET].concat());
    assert_eq!(sender.answer().status, 200);
}

#[test]
fn the_limit_by_address_counts_the_clients_and_not_the_balancer_in_front() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let proxy = "accessLog: {path: none}\n  maxConnectionsPerAddress: 1";
    let lb = Lb::start(&behind(&setup(&backend, &health).proxy(proxy).text(), "127.0.0.1"));
    let ask = |client: &str| {
        let mut connection = lb.client();
        connection.send(format!("PROXY TCP4 {client} 198.51.100.1 1 2\r\n{GET}"));
        let status = connection.try_answer("GET").ok().map(|answer| answer.status);
        (connection, status)
    };
    let first = ask("192.0.2.1");
    let second = ask("192.0.2.2");
    let third = ask("192.0.2.1");
    assert_eq!([first.1, second.1, third.1], [Some(200), Some(200), None]);
    assert_eq!(lb.handle.process().sum(Traffic::RefusedByAddress), 1);
}

#[test]
fn a_header_goes_before_tls() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let text = https(&setup(&backend, &health), &[("web", &pair)], "", "");
    let lb = Lb::start(&behind(&text, "127.0.0.1"));
    let connect = || {
        let stream = TcpStream::connect(lb.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let name = ServerName::try_from("web.example").unwrap();
    let secured = |header: &[u8]| {
        let mut stream = connect();
        stream.write_all(header).unwrap();
        let client = ClientConnection::new(Arc::new(authority.trusting(None)), name.clone()).unwrap();
        let mut stream = StreamOwned::new(client, stream);
        stream.write_all(GET.as_bytes())?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        std::io::Result::Ok(String::from_utf8_lossy(&status).into_owned())
    };
    assert_eq!(secured(V1.as_bytes()).unwrap(), "HTTP/1.1 200");
    assert_eq!(secured(&v2()).unwrap(), "HTTP/1.1 200");
    assert!(secured(b"").is_err());
    assert_eq!(backend.requests(), 2);
    assert!(backend.seen().iter().all(|seen| seen.all("x-forwarded-for") == ["192.0.2.7,198.51.100.1"]));
}

#[test]
fn a_tcp_proxy_passes_the_client_on_to_its_members() {
    let address: SocketAddr = own_address();
    let listener = TcpListener::bind(address).unwrap();
    let health = toy("health");
    let text = format!(
        "proxy: {{zone: us-central1-a, accessLog: {{path: none}}}}\n\
         forwardingRules: [{{name: web, IPAddress: 127.0.0.1, portRange: \"0\", target: web-proxy}}]\n\
         targetTcpProxies: [{{name: web-proxy, service: web, proxyHeader: PROXY_V1}}]\n\
         backendServices:\n  - name: web\n    protocol: TCP\n    portName: tcp\n    healthChecks: [basic]\n\
         \x20   backends: [{{group: ig, balancingMode: CONNECTION, maxConnections: 10}}]\n\
         instanceGroups:\n  - name: ig\n    zone: us-central1-a\n    namedPorts: [{{name: tcp, port: {}}}]\n\
         \x20   instances: [{{name: a, ipAddress: {}}}]\n\
         healthChecks: [{{name: basic, type: HTTP, httpHealthCheck: {{port: {}, requestPath: /healthz}}}}]\n",
        address.port(),
        address.ip(),
        health.address().port(),
    );
    let lb = Lb::start(&behind(&text, "127.0.0.1"));
    let mut client = lb.client();
    client.send([v2(), b"then this".to_vec()].concat()).finish();
    let (mut member, _) = listener.accept().unwrap();
    let mut heard = String::new();
    member.set_read_timeout(Some(PATIENCE)).unwrap();
    member.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\nthen this");
    member.write_all(b"bye").unwrap();
    drop(member);
    assert_eq!(client.rest(), b"bye");
}
