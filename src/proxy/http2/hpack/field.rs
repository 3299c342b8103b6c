//! A field of a request's list: its name, and its value as what it stands for.

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method};

/// What a field counts beyond its name and value [RFC 7541 4.1].
const OVERHEAD: usize = 32;

/// A field of a list, read and judged once: those that stand in the table are cloned for next to nothing.
#[derive(Debug, Clone)]
pub(crate) enum Field {
    /// `None`: a text that is no method.
    Method(Option<Method>),
    /// `None`: no scheme.
    Scheme(Option<Scheme>),
    /// `None`: no authority; an empty one is none.
    Authority(Option<Authority>),
    /// `None`: empty, or nothing that can be read as a path.
    Path(Option<PathAndQuery>),
    /// Valid UTF-8.
    Protocol(Bytes),
    /// `:status`, which no request has.
    Status,
    Header(HeaderName, HeaderValue),
}

/// Why the fields of a block end before it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The block cannot be unpacked, or a name or value is none. The client's fault.
    Bad,
    /// Whoever takes the fields has had enough.
    Stopped,
}

/// A field as it stands in a table.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) field: Field,
    /// Bytes of name and value as they were sent, and the overhead.
    pub(super) size: usize,
}

/// The name of a field whose value is still to come.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Name {
    Method,
    Scheme,
    Authority,
    Path,
    Protocol,
    Status,
    Header(HeaderName),
}

impl Field {
    pub(super) fn name(&self) -> Name {
        match self {
            Self::Method(_) => Name::Method,
            Self::Scheme(_) => Name::Scheme,
            Self::Authority(_) => Name::Authority,
            Self::Path(_) => Name::Path,
            Self::Protocol(_) => Name::Protocol,
            Self::Status => Name::Status,
            Self::Header(name, _) => Name::Header(name.clone()),
        }
    }

    /// Marks the value as one that nobody may write to a table.
    pub(super) fn set_sensitive(&mut self) {
        if let Self::Header(_, value) = self {
            value.set_sensitive(true);
        }
    }
}

impl Entry {
    /// `keep` makes a copy of the value and is asked for one at most.
    ///
    /// # Errors
    /// The value is none, whatever the name means by it.
    #[inline]
    pub(super) fn read(name: Name, value: &[u8], keep: impl FnOnce(&[u8]) -> Bytes) -> Result<Self, Broken> {
        let size = name.len() + value.len() + OVERHEAD;
        let field = match name {
            Name::Header(name) => {
                let value = HeaderValue::from_maybe_shared(keep(value)).map_err(|_| Broken::Bad)?;
                Field::Header(name, value)
            }
            Name::Method => Field::Method(Method::from_bytes(value).ok()),
            // Most are ASCII, which is found out sooner.
            _ if !value.is_ascii() && std::str::from_utf8(value).is_err() => return Err(Broken::Bad),
            _ => pseudo(&name, value, keep),
        };
        Ok(Self { field, size })
    }
}

/// Any but `:method`. The value is valid UTF-8.
fn pseudo(name: &Name, value: &[u8], keep: impl FnOnce(&[u8]) -> Bytes) -> Field {
    let text = Some(value).filter(|value| !value.is_empty());
    match name {
        // An empty one says nothing, and nobody asks.
        Name::Scheme if value.is_empty() => Field::Scheme(Some(Scheme::HTTP)),
        Name::Scheme => Field::Scheme(text.and_then(|text| Scheme::try_from(text).ok())),
        Name::Authority => {
            Field::Authority(text.and_then(|text| Authority::from_maybe_shared(keep(text)).ok()))
        }
        Name::Path => Field::Path(text.and_then(|text| PathAndQuery::from_maybe_shared(keep(text)).ok())),
        Name::Protocol => Field::Protocol(keep(value)),
        Name::Method | Name::Status | Name::Header(_) => Field::Status,
    }
}

impl Name {
    /// # Errors
    /// It is no name: empty, not lower case, bytes that names do not have, or a pseudo-header that is unknown.
    pub(super) fn read(text: &[u8]) -> Result<Self, Broken> {
        if text.first() != Some(&b':') {
            return HeaderName::from_lowercase(text).map(Self::Header).map_err(|_| Broken::Bad);
        }
        match text {
            b":method" => Ok(Self::Method),
            b":scheme" => Ok(Self::Scheme),
            b":authority" => Ok(Self::Authority),
            b":path" => Ok(Self::Path),
            b":protocol" => Ok(Self::Protocol),
            b":status" => Ok(Self::Status),
            _ => Err(Broken::Bad),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Path => 5,
            Self::Method | Self::Scheme | Self::Status => 7,
            Self::Protocol => 9,
            Self::Authority => 10,
            Self::Header(name) => name.as_str().len(),
        }
    }
}

#[cfg(test)]
impl Field {
    /// Name and value, as text.
    pub(super) fn line(&self) -> String {
        fn text<T: ToString>(value: &Option<T>) -> String {
            value.as_ref().map_or("none".to_owned(), T::to_string)
        }
        match self {
            Self::Method(value) => format!(":method: {}", text(value)),
            Self::Scheme(value) => format!(":scheme: {}", text(value)),
            Self::Authority(value) => format!(":authority: {}", text(value)),
            Self::Path(value) => format!(":path: {}", text(value)),
            Self::Protocol(value) => format!(":protocol: {}", String::from_utf8_lossy(value)),
            Self::Status => ":status".to_owned(),
            Self::Header(name, value) => format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn read(name: &str, value: &[u8]) -> Result<(String, usize), Broken> {
        let entry = Entry::read(Name::read(name.as_bytes())?, value, Bytes::copy_from_slice)?;
        Ok((entry.field.line(), entry.size))
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["", ":", ":paths", ":Path", ":status ", "Host", "x y", "x:", "é", "x\0", "a\r\n"] {
            assert_eq!(Name::read(name.as_bytes()), Err(Broken::Bad), "{name:?}");
        }
        assert_eq!(Name::read(&[b'x'; 70_000]), Err(Broken::Bad));
        let long = "X".repeat(100);
        assert_eq!(Name::read(long.as_bytes()), Err(Broken::Bad));
        assert_eq!(Name::read(b"host"), Ok(Name::Header(http::header::HOST)));
    }

    #[test]
    fn a_field_counts_its_name_and_its_value_and_32() {
        let names =
            [":method", ":scheme", ":authority", ":path", ":protocol", ":status", "host", "x-long-name"];
        for name in names {
            for value in ["", "/", "abc"] {
                assert_eq!(read(name, value.as_bytes()).unwrap().1, name.len() + value.len() + 32, "{name}");
            }
        }
    }

    #[test]
    fn pseudo_headers_are_judged_by_what_they_mean() {
        let good = [
            (":method", "GET", "GET"),
            (":method", "PURGE-IT", "PURGE-IT"),
            (":method", "", "none"),
            (":method", "G T", "none"),
            (":scheme", "https", "https"),
            (":scheme", "ftp", "ftp"),
            (":scheme", "", "http"),
            (":scheme", "a:b", "none"),
            (":authority", "a.test:80", "a.test:80"),
            (":authority", "", "none"),
            (":authority", "a b", "none"),
            (":path", "/a?b", "/a?b"),
            (":path", "", "none"),
            (":path", "/a b", "none"),
            (":protocol", "websocket", "websocket"),
        ];
        for (name, value, seen) in good {
            assert_eq!(read(name, value.as_bytes()).unwrap().0, format!("{name}: {seen}"), "{name} {value}");
        }
        for name in [":scheme", ":authority", ":path", ":protocol", ":status"] {
            assert_eq!(read(name, b"/\xff"), Err(Broken::Bad), "{name}");
        }
        assert_eq!(read(":method", b"\xff").unwrap().0, ":method: none");
    }

    #[test]
    fn values_with_control_bytes_are_refused() {
        for byte in (0..=255).filter(|byte: &u8| *byte != b'\t' && (*byte < b' ' || *byte == 127)) {
            assert_eq!(read("x", &[b'a', byte]), Err(Broken::Bad), "{byte}");
        }
        assert!(read("x", b"\t a \xff").is_ok());
    }

    #[test]
    fn a_field_knows_its_name_again() {
        for name in [":method", ":scheme", ":authority", ":path", ":protocol", ":status", "host", "x-a"] {
            let name = Name::read(name.as_bytes()).unwrap();
            let entry = Entry::read(name.clone(), b"/", Bytes::copy_from_slice).unwrap();
            assert_eq!(entry.field.name(), name);
        }
    }
}
