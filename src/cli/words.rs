//! Words of the command line that mean numbers.

use std::net::SocketAddr;
use std::time::Duration;

/// `5ms`, `2s`, `250us`, `1m`; a bare number means seconds. At most a day.
///
/// # Errors
/// What is wrong, for a usage error.
pub(crate) fn duration(word: &str) -> Result<Duration, String> {
    let split = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
    let (number, unit) = word.split_at(split);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("`{unit}` is no unit of time; there are: us, ms, s, m")),
    };
    let seconds =
        number.parse::<f64>().map_err(|_| format!("`{word}` is no time such as 5ms or 2s"))? * scale;
    if !(0.0..=86_400.0).contains(&seconds) {
        return Err(format!("`{word}` is not between 0 and a day"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// A status that ends a response: 200 to 599.
///
/// # Errors
/// What is wrong, for a usage error.
pub(crate) fn status(word: &str) -> Result<u16, String> {
    match word.parse() {
        Ok(status @ 200..=599) => Ok(status),
        _ => Err(format!("`{word}` is no status from 200 to 599")),
    }
}

/// A finite number above 0.
///
/// # Errors
/// What is wrong, for a usage error.
pub(crate) fn positive(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err(format!("`{word}` is no number above 0")),
    }
}

/// Length of a toy's body: up to 64 MiB.
///
/// # Errors
/// What is wrong, for a usage error.
pub(crate) fn body_bytes(word: &str) -> Result<usize, String> {
    match word.parse() {
        Ok(bytes @ 0..=67_108_864) => Ok(bytes),
        _ => Err(format!("`{word}` is no length from 0 to 67108864")),
    }
}

/// Data-plane threads: 1 to 256.
///
/// # Errors
/// What is wrong, for a usage error.
pub(crate) fn workers(word: &str) -> Result<usize, String> {
    match word.parse() {
        Ok(workers @ 1..=256) => Ok(workers),
        _ => Err(format!("`{word}` is no number of threads from 1 to 256")),
    }
}

/// Where the admin API is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminAt {
    /// At this loopback address.
    Address(SocketAddr),
    /// Nowhere.
    None,
}

impl AdminAt {
    /// The address, if there is one.
    #[must_use]
    pub const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::None => None,
        }
    }
}

/// Address of the admin API: loopback, since others ask for tokens, which stand in the file; or `none`, as there.
///
/// # Errors
/// What is wrong, for a usage error.
pub(crate) fn admin(word: &str) -> Result<AdminAt, String> {
    match word.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(AdminAt::Address(address)),
        Ok(address) => Err(format!(
            "{address} is no loopback address; others need tokens, with which they stand in the file under proxy.admin"
        )),
        Err(_) if word == "none" => Ok(AdminAt::None),
        Err(_) => Err(format!("`{word}` is neither an address such as 127.0.0.1:9901 nor none")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let read: Vec<_> = ["5ms", "2s", "250us", "1m", "0.5", "0"].map(|w| duration(w).unwrap()).into();
        let expected = [5_000, 2_000_000, 250, 60_000_000, 500_000, 0].map(Duration::from_micros);
        assert_eq!(read, expected);
        assert!(["", "ms", "5 parsecs", "-1s", "1e9s", "nan"].iter().all(|w| duration(w).is_err()));
    }

    #[test]
    fn the_admin_api_is_on_loopback_or_nowhere() {
        assert_eq!(admin("[::1]:0").unwrap().address().unwrap().port(), 0);
        assert_eq!(admin("none"), Ok(AdminAt::None));
        assert!(["0.0.0.0:9901", "None", "9901", ""].iter().all(|word| admin(word).is_err()));
    }

    #[test]
    fn numbers_have_ranges() {
        assert!(status("99").is_err() && status("600").is_err() && status("204") == Ok(204));
        assert!(positive("0").is_err() && positive("inf").is_err() && positive("NaN").is_err());
        assert!(workers("0").is_err() && workers("257").is_err() && workers("8") == Ok(8));
        assert!(body_bytes("-1").is_err() && body_bytes("0") == Ok(0));
    }
}
