//! `--load GROUP=LOAD`: what a group has to do already.

use std::str::FromStr;

/// One `--load`. The unit says which target it counts against.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Name of the group, or `ZONE/NAME`.
    pub group: String,
    /// How much.
    pub amount: Amount,
    /// The same as it was written.
    pub words: String,
}

/// A load with its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// `70%`: so much of the target of its mode, in CUSTOM_METRICS of each metric's; 1 = full.
    Part(f64),
    /// `90/s`: requests per second.
    Rate(f64),
    /// `12`: in the unit of its target: requests per second, requests in flight or open connections.
    Number(f64),
}

impl FromStr for Load {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let bad = || format!("`{word}` is no load such as ig-near=90/s, ig-near=70% or ig-near=12");
        let (group, words) = word.split_once('=').ok_or_else(bad)?;
        let (number, unit): (&str, fn(f64) -> Amount) =
            match (words.strip_suffix("/s"), words.strip_suffix('%')) {
                (Some(rate), _) => (rate, Amount::Rate),
                (_, Some(percent)) => (percent, |percent| Amount::Part(percent / 100.0)),
                _ => (words, Amount::Number),
            };
        let number: f64 = number.parse().map_err(|_| bad())?;
        if group.is_empty() || !(0.0..=1e12).contains(&number) {
            return Err(bad());
        }
        Ok(Self { group: group.to_owned(), amount: unit(number), words: words.to_owned() })
    }
}

/// `--healthy GROUP=N`: only the first N members of a group are healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthy {
    /// Name of the group, or `ZONE/NAME`.
    pub group: String,
    /// How many.
    pub members: usize,
}

impl FromStr for Healthy {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let bad = || format!("`{word}` is no number of healthy members such as ig-near=1");
        let (group, members) = word.split_once('=').ok_or_else(bad)?;
        let members = members.parse().map_err(|_| bad())?;
        if group.is_empty() {
            return Err(bad());
        }
        Ok(Self { group: group.to_owned(), members })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_says_what_a_load_counts_against() {
        let amount = |word: &str| word.parse::<Load>().unwrap().amount;
        assert_eq!(amount("ig=90.5/s"), Amount::Rate(90.5));
        assert_eq!(amount("ig=70%"), Amount::Part(0.7));
        assert_eq!(amount("ig=12"), Amount::Number(12.0));
        for bad in ["ig", "=1", "ig=", "ig=-1", "ig=1/m", "ig=nan", "ig=inf", "ig=1%%", "ig=1/s/s", "ig=%"] {
            assert!(bad.parse::<Load>().is_err(), "{bad}");
        }
        assert_eq!("ig=0".parse::<Healthy>().unwrap().members, 0);
        assert!("ig=-1".parse::<Healthy>().is_err());
    }
}
