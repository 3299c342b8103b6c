//! A name server on loopback that knows what a test tells it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What it says of a name; of others that there is no such name.
#[derive(Clone)]
pub(crate) enum Says {
    /// These addresses, for so many seconds.
    At(Vec<Ipv4Addr>, u32),
    /// Nothing at all.
    Nothing,
    /// That it failed.
    Failure,
}

pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    names: Mutex<HashMap<String, Says>>,
    asked: AtomicUsize,
    is_stopped: AtomicBool,
}

impl NameServer {
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let thread = std::thread::spawn(move || {
            let mut bytes = [0; 1500];
            while let Ok((read, from)) = socket.recv_from(&mut bytes) {
                if of_thread.is_stopped.load(SeqCst) {
                    return;
                }
                if let Some(answer) = of_thread.answer(&bytes[..read]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    pub(crate) fn say(&self, name: &str, says: Says) {
        self.shared.names.lock().unwrap().insert(name.to_owned(), says);
    }

    /// Questions for IPv4 addresses so far.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(SeqCst)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, SeqCst);
        let waker = UdpSocket::bind("127.0.0.1:0").unwrap();
        let _ = waker.send_to(&[0], self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let (mut name, mut at) = (Vec::new(), 12);
        while *query.get(at)? > 0 {
            let length = usize::from(query[at]);
            name.push(String::from_utf8_lossy(query.get(at + 1..=at + length)?).into_owned());
            at += 1 + length;
        }
        let question = query.get(12..at + 5)?;
        let is_v4 = question[question.len() - 4..] == [0, 1, 0, 1];
        self.asked.fetch_add(usize::from(is_v4), SeqCst);
        let (code, addresses, ttl) = match self.names.lock().unwrap().get(&name.join(".")).cloned() {
            Some(Says::Nothing) => return None,
            Some(Says::At(addresses, ttl)) => (0, if is_v4 { addresses } else { Vec::new() }, ttl),
            Some(Says::Failure) => (2, Vec::new(), 0),
            None => (3, Vec::new(), 0),
        };
        let count = u8::try_from(addresses.len()).unwrap();
        let mut answer = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
        answer.extend_from_slice(question);
        for address in addresses {
            // The name by its place, type A, class IN.
            answer.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1]);
            answer.extend_from_slice(&ttl.to_be_bytes());
            answer.extend_from_slice(&[0, 4]);
            answer.extend_from_slice(&address.octets());
        }
        Some(answer)
    }
}
