//! Faults that a toy backend makes on purpose: which request gets one, and what it does on the wire.

use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::cli::words;

/// What goes wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is reset instead of an answer.
    Reset,
    /// Bytes that are no HTTP instead of an answer, then the end.
    Garbage,
    /// The first half of an answer, then no more is sent; the connection stays for a second.
    HalfClose,
    /// The answer does not wait, neither for the latency nor for the request's body, and ends the connection.
    Early,
    /// The answer comes in pieces of 16 bytes, 5 ms apart.
    Trickle,
}

/// Parts of the requests that get a fault, 0 to 1 together; and a wait that any request may get.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// In the order of [`ALL`].
    parts: [f64; ALL.len()],
    /// So long, for this part.
    delay: (Duration, f64),
}

const ALL: [(&str, Fault); 5] = [
    ("reset", Fault::Reset),
    ("garbage", Fault::Garbage),
    ("half-close", Fault::HalfClose),
    ("early", Fault::Early),
    ("trickle", Fault::Trickle),
];

const GARBAGE: &[u8] = b"\0\xff\r\n\r\nnothing of this is HTTP\r\n\r\n";
const PIECE: usize = 16;
const PAUSE: Duration = Duration::from_millis(5);
const HALF_OPEN: Duration = Duration::from_secs(1);

impl Faults {
    /// The fault of the request numbered `number`: the same in every run.
    pub(super) fn of(&self, number: u64) -> Option<Fault> {
        let mut point = spread(number, GOLDEN);
        self.parts.iter().zip(ALL).find_map(|(part, (_, fault))| {
            let is_it = point < *part;
            point -= part;
            is_it.then_some(fault)
        })
    }

    /// What it waits beside its latency.
    pub(super) fn wait(&self, number: u64) -> Duration {
        let (wait, part) = self.delay;
        if spread(number, 0xD1B5_4A32_D192_ED03) < part { wait } else { Duration::ZERO }
    }
}

/// The golden ratio, as a step.
pub(super) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// 0 to 1, evenly over the numbers, and the same in every run: steps of an irrational part of a turn.
pub(super) fn spread(number: u64, step: u64) -> f64 {
    f64::from(u16::try_from(number.wrapping_mul(step) >> 48).unwrap_or(0)) / 65536.0
}

impl FromStr for Faults {
    type Err = String;

    /// `reset=1%,garbage=1%,half-close=1%,early=1%,trickle=1%,delay=50ms:5%`, or `none`.
    fn from_str(word: &str) -> Result<Self, String> {
        let mut faults = Self::default();
        for one in word.split(',').filter(|one| !matches!(*one, "" | "none")) {
            let (name, value) = one.split_once('=').ok_or_else(|| unknown(one))?;
            match ALL.iter().position(|(known, _)| *known == name) {
                Some(at) => {
                    let part = part(value)?;
                    if let Some(slot) = faults.parts.get_mut(at) {
                        *slot = part;
                    }
                }
                None if name == "delay" => {
                    let bad = || format!("`{value}` is no time for a part of the requests such as 50ms:5%");
                    let (wait, of) = value.split_once(':').ok_or_else(bad)?;
                    faults.delay = (words::duration(wait)?, part(of)?);
                }
                None => return Err(unknown(name)),
            }
        }
        if faults.parts.iter().sum::<f64>() > 1.0 {
            return Err(format!("`{word}` is more than all requests"));
        }
        Ok(faults)
    }
}

fn unknown(word: &str) -> String {
    format!(
        "`{word}` is no fault; there are: reset=1%, garbage=, half-close=, early=, trickle=, delay=50ms:5%, none"
    )
}

fn part(word: &str) -> Result<f64, String> {
    let percent = word.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
    percent.map(|percent| percent / 100.0).ok_or_else(|| format!("`{word}` is no part such as 1%"))
}

/// The fault of the answer under way, from whoever answers to whoever writes.
#[derive(Debug, Clone, Default)]
pub(super) struct Order(Arc<Mutex<Option<Fault>>>);

impl Order {
    pub(super) fn set(&self, fault: Option<Fault>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn get(&self) -> Option<Fault> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that goes wrong as ordered.
pub(super) struct Wire {
    stream: TcpStream,
    order: Order,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(super) const fn new(stream: TcpStream, order: Order) -> Self {
        Self { stream, order, pause: None }
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    fn poll_half(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.pause.is_none() {
            let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
            ready!(Pin::new(&mut self.stream).poll_write(cx, half))?;
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.pause = Some(Box::pin(tokio::time::sleep(HALF_OPEN)));
        }
        ready!(self.poll_pause(cx));
        Poll::Ready(Err(over()))
    }
}

fn over() -> io::Error {
    io::Error::other("a fault, as ordered")
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.order.get() {
            None | Some(Fault::Early) => Pin::new(&mut self.stream).poll_write(cx, bytes),
            Some(Fault::Reset) => {
                SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
                Poll::Ready(Err(over()))
            }
            Some(Fault::Garbage) => {
                ready!(Pin::new(&mut self.stream).poll_write(cx, GARBAGE))?;
                Poll::Ready(Err(over()))
            }
            Some(Fault::HalfClose) => self.poll_half(cx, bytes),
            Some(Fault::Trickle) => {
                ready!(self.poll_pause(cx));
                let piece = bytes.get(..PIECE).unwrap_or(bytes);
                let written = ready!(Pin::new(&mut self.stream).poll_write(cx, piece))?;
                self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
                Poll::Ready(Ok(written))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_and_what_is_wrong_is_named() {
        let faults: Faults = "reset=1%,trickle=2.5%,delay=50ms:5%".parse().unwrap();
        assert_eq!(faults.parts, [0.01, 0.0, 0.0, 0.0, 0.025]);
        assert_eq!(faults.delay, (Duration::from_millis(50), 0.05));
        assert_eq!("none".parse(), Ok(Faults::default()));
        for (bad, word) in [
            ("rest=1%", "rest"),
            ("reset", "reset"),
            ("reset=1", "no part"),
            ("reset=101%", "no part"),
            ("reset=60%,early=60%", "more than all"),
            ("delay=5%", "50ms:5%"),
        ] {
            let why = bad.parse::<Faults>().unwrap_err();
            assert!(why.contains(word), "{bad}: {why}");
        }
    }

    #[test]
    fn each_fault_gets_its_part_of_the_requests() {
        let faults: Faults =
            "reset=1%,garbage=2%,half-close=3%,early=4%,trickle=5%,delay=1ms:10%".parse().unwrap();
        let count = |fault| (0..10_000).filter(|n| faults.of(*n) == fault).count();
        for (want, (_, fault)) in [100, 200, 300, 400, 500].into_iter().zip(ALL) {
            assert!(count(Some(fault)).abs_diff(want) <= 20, "{fault:?}: {}", count(Some(fault)));
        }
        assert!(count(None).abs_diff(8_500) <= 100);
        let delayed = (0..10_000).filter(|n| !faults.wait(*n).is_zero()).count();
        assert!(delayed.abs_diff(1_000) <= 20, "{delayed}");
    }
}
