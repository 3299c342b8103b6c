//! The TEXT form: `key=value,key=value`, or with colons from older senders [G 1.43].

use super::{Malformed, Report};

pub(super) fn parse(text: &str) -> Result<Report, Malformed> {
    let mut report = Report::default();
    for (count, entry) in text.split(',').enumerate() {
        if count >= super::MAX_ENTRIES {
            return Err(Malformed::TooLarge);
        }
        let (key, value) = entry.split_once(['=', ':']).ok_or(Malformed::Syntax)?;
        let value: f64 = value.trim().parse().map_err(|_| Malformed::Syntax)?;
        report.set(key.trim(), value)?;
    }
    Ok(report)
}
