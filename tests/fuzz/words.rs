//! Words of the command line, and of the query that sets a toy backend.

use clap::Parser as _;
use overspill::cli::args::Arguments;

use crate::run::fuzz;
use crate::{kind, texts};

const WORDS: &[&str] = &[
    "--load",
    "--healthy",
    "--header",
    "--client-ip",
    "--admin",
    "--format",
    "json",
    "rate=",
    "70%",
    "90/s",
];

#[test]
fn words_of_the_command_line_are_read_or_refused() {
    let seeds = texts(&[
        "explain\nlb.yaml\n--request\nGET http://shop.test/cart\n--load\nig-near=70%\n--healthy\nig-far=1\n--client-ip\n192.0.2.1",
        "run\n8081\nus-central1-a=127.0.0.1:8081,rate=50,name=a",
        "demo\n--seconds\n3",
        "backend\n--listen\n127.0.0.1:1\n--latency\n5ms\n--report\nbin\n--capacity\n10",
        "simulate\na.yaml\n--scenario\nb.yaml\n--interval\n5",
        "serve\n-c\nlb.yaml\n--admin\n127.0.0.1:9901\n--workers\n2",
    ]);
    fuzz("words", seeds, WORDS, |input| {
        let text = String::from_utf8_lossy(input);
        let words = std::iter::once("overspill").chain(text.split('\n'));
        kind(
            Arguments::try_parse_from(words)
                .map_or_else(|error| format!("{:?}", error.kind()), |_| String::new()),
        )
    });
}
