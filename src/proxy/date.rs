//! The `Date` of answers of our own, written once a second.

use std::cell::RefCell;
use std::time::UNIX_EPOCH;

use http::HeaderValue;

use crate::clock;

thread_local! {
    /// A second since 1970, and its text.
    static WRITTEN: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Hands on the date of now.
pub(super) fn with<T>(show: impl FnOnce(&[u8]) -> T) -> T {
    let now = clock::wall();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    WRITTEN.with_borrow_mut(|(written, text)| {
        if *written != second || text.is_empty() {
            (*written, *text) = (second, httpdate::fmt_http_date(now));
        }
        show(text.as_bytes())
    })
}

/// The same as a header.
pub(super) fn header() -> HeaderValue {
    // A date is a value.
    with(|date| HeaderValue::from_bytes(date).unwrap_or(HeaderValue::from_static("")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_once_a_second() {
        let (first, second) = (header(), header());
        assert_eq!(first.as_bytes().len(), "Sun, 06 Nov 1994 08:49:37 GMT".len());
        assert_eq!(second.as_bytes().len(), first.as_bytes().len());
    }
}
