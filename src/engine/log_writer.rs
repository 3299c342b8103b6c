//! The thread that writes the access log: takes chunks from the workers, writes them to standard output or a file.
//!
//! A write that fails, as on a full disk, loses that chunk: its lines are counted, it is said once until a write
//! succeeds again, and the next line starts on a line of its own. A file that was renamed or removed, as log rotation
//! does, is opened anew under its name before the next chunk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use crate::model::config::AccessLogTarget;
use crate::proxy::access_log::{Channel, Chunk};

/// Chunks that may wait: 8 MiB.
const WAITING: usize = 256;

/// A running writer; owned by the supervisor. Its thread ends when this and all channels are gone.
#[derive(Debug)]
pub struct LogWriter {
    channel: Option<Channel>,
    thread: Option<JoinHandle<()>>,
}

impl LogWriter {
    /// Opens the target and starts the thread; without a target there is none.
    ///
    /// # Errors
    /// When the file cannot be opened for appending, or the thread cannot be started.
    pub fn start(target: &AccessLogTarget) -> io::Result<Self> {
        let sink: Box<dyn Sink> = match target {
            AccessLogTarget::None => return Ok(Self { channel: None, thread: None }),
            AccessLogTarget::Stdout => Box::new(io::stdout()),
            AccessLogTarget::File(path) => {
                Box::new(Appended { file: open(path)?, path: path.clone(), is_astray: false })
            }
        };
        let (chunks, received) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let channel = Channel { chunks, lost: lost.clone() };
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || Writer { sink, lost, is_torn: false, is_failing: false }.run(&received))?;
        Ok(Self { channel: Some(channel), thread: Some(thread) })
    }

    /// For a worker's buffer; `None` without an access log.
    #[must_use]
    pub(crate) fn channel(&self) -> Option<Channel> {
        self.channel.clone()
    }

    /// Waits until all is written. Call it when the workers have dropped their channels.
    pub fn finish(mut self) {
        self.channel = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }
}

trait Sink: Write + Send {
    /// Called before each chunk.
    fn refresh(&mut self) {}
}

impl Sink for io::Stdout {}

struct Appended {
    file: File,
    path: Arc<str>,
    /// The name leads elsewhere and cannot be opened; said once.
    is_astray: bool,
}

impl Appended {
    /// Whether the name still leads to the open file. One look for 32 KiB of lines costs nothing.
    fn is_current(&self) -> bool {
        let named = std::fs::metadata(&*self.path).map(|m| (m.dev(), m.ino()));
        let held = self.file.metadata().map(|m| (m.dev(), m.ino()));
        matches!((named, held), (Ok(named), Ok(held)) if named == held)
    }
}

impl Sink for Appended {
    fn refresh(&mut self) {
        if self.is_current() {
            return;
        }
        match open(&self.path) {
            Ok(file) => (self.file, self.is_astray) = (file, false),
            Err(error) if !self.is_astray => {
                self.is_astray = true;
                tracing::warn!(path = &*self.path, %error, "access log stays with the old file");
            }
            Err(_) => {}
        }
    }
}

impl Write for Appended {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn open(path: &str) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

struct Writer {
    sink: Box<dyn Sink>,
    lost: Arc<AtomicU64>,
    /// A part of a line was written.
    is_torn: bool,
    is_failing: bool,
}

impl Writer {
    fn run(&mut self, received: &Receiver<Chunk>) {
        while let Ok(chunk) = received.recv() {
            self.sink.refresh();
            match self.write(&chunk) {
                Ok(()) if self.is_failing => {
                    self.is_failing = false;
                    tracing::info!("access log is written again");
                }
                Ok(()) => {}
                Err(error) => {
                    self.lost.fetch_add(chunk.lines, Relaxed);
                    if !self.is_failing {
                        self.is_failing = true;
                        tracing::error!(%error, "access log cannot be written; lines are dropped and counted");
                    }
                }
            }
        }
    }

    fn write(&mut self, chunk: &Chunk) -> io::Result<()> {
        if self.is_torn {
            self.sink.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut rest = &*chunk.bytes;
        while !rest.is_empty() {
            match self.sink.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or(&[]);
                    self.is_torn = !rest.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.sink.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Takes as many bytes as it has room for, then fails until it is given more.
    #[derive(Clone)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (held, room) = &mut *self.0.lock().unwrap();
            let taken = bytes.len().min(*room);
            if taken == 0 {
                return Err(io::Error::other("full"));
            }
            *room -= taken;
            held.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink for Disk {}

    fn chunk(text: &str) -> Chunk {
        Chunk { bytes: text.as_bytes().to_vec(), lines: text.lines().count() as u64 }
    }

    #[test]
    fn a_full_disk_loses_counted_lines_and_no_later_line_is_torn() {
        let disk = Disk(Arc::new(Mutex::new((Vec::new(), 6))));
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer =
            Writer { sink: Box::new(disk.clone()), lost: lost.clone(), is_torn: false, is_failing: false };
        let mut run = |texts: &[&str]| {
            let (chunks, received) = sync_channel(texts.len());
            texts.iter().for_each(|text| chunks.send(chunk(text)).unwrap());
            drop(chunks);
            writer.run(&received);
        };
        run(&["one\n", "two\nmore\n", "three\n"]);
        disk.0.lock().unwrap().1 = 100;
        run(&["four\n"]);
        assert_eq!(disk.0.lock().unwrap().0, b"one\ntw\nfour\n");
        assert_eq!(lost.load(Relaxed), 3);
    }

    #[test]
    fn a_file_is_appended_to_and_opened_anew_after_a_rotation() {
        let path = std::env::temp_dir().join(format!("overspill-log-{}", std::process::id()));
        let moved = path.with_extension("1");
        std::fs::write(&path, "before\n").unwrap();
        let mut log = Appended {
            file: open(path.to_str().unwrap()).unwrap(),
            path: path.to_str().unwrap().into(),
            is_astray: false,
        };
        log.refresh();
        log.write_all(b"one\n").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        log.refresh();
        log.write_all(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "before\none\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&moved).unwrap();
    }

    #[test]
    fn what_was_sent_before_the_end_is_written() {
        let path = std::env::temp_dir().join(format!("overspill-log-end-{}", std::process::id()));
        let writer = LogWriter::start(&AccessLogTarget::File(path.to_str().unwrap().into())).unwrap();
        let channel = writer.channel().unwrap();
        channel.chunks.send(chunk("one\n")).unwrap();
        drop(channel);
        writer.finish();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn without_a_target_there_is_no_channel_and_a_bad_path_is_an_error() {
        assert!(LogWriter::start(&AccessLogTarget::None).unwrap().channel().is_none());
        assert!(LogWriter::start(&AccessLogTarget::File("/nowhere/at/all".into())).is_err());
    }
}
