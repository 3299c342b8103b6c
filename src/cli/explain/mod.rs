//! `overspill explain`: where one request would go, and why. On a file with loads that are said, or on a running proxy
//! with the loads that it has.

mod load;
mod offline;
mod said;
mod text;

use http::Method;
use serde_json::Value;

pub use self::load::{Healthy, Load};

use super::args::{Explain, Format};
use super::check::{BAD, USAGE};
use super::client::{Admin, Failure};
use super::serve::on_runtime;
use crate::admin::explain::Words;

/// Exit code: 0 explained, 1 the file is bad or nobody answers as asked, 2 usage.
pub(super) fn run(ask: &Explain) -> u8 {
    let words = words(ask);
    let explained = match (&ask.file, &ask.admin) {
        (Some(file), None) => offline::explain(file, ask, &words),
        (None, Some(url)) => live(url, &words).map_err(|(why, code)| (format!("overspill: {why}\n"), code)),
        // The parser lets exactly one through.
        _ => return 2,
    };
    match explained {
        Ok(value) => {
            super::say(&match ask.format {
                Format::Json => format!("{value:#}\n"),
                Format::Human => text::of(&value),
            });
            0
        }
        Err((why, code)) => {
            eprint!("{why}");
            code
        }
    }
}

/// The question that is asked.
fn words(ask: &Explain) -> Words {
    Words {
        request: ask.request.clone(),
        client_ip: ask.client_ip,
        to: ask.to,
        headers: ask.header.clone(),
        forwarding_rule: ask.forwarding_rule.clone(),
    }
}

fn live(url: &str, words: &Words) -> Result<Value, (String, u8)> {
    let admin = Admin::parse(url).map_err(|why| (why, USAGE))?;
    let body = serde_json::to_value(words).map_err(|error| (error.to_string(), BAD))?;
    let mut answer = Err("no runtime".to_owned());
    on_runtime(async {
        answer = admin.ask(Method::POST, "/explain", &body).await.map_err(|failure| match failure {
            Failure::Unreachable(why) | Failure::Refused(why) => why,
        });
        0
    });
    answer.map_err(|why| (why, BAD))
}
