//! Explanations of the examples in `config/`.
#![allow(clippy::unwrap_used, clippy::panic)]

use clap::Parser as _;

use super::*;
use crate::cli::args::{Arguments, Command};
use crate::cli::explain::text;

/// `line` is a file of `config/`, or a whole path, and options. `@` stands for a space in an argument.
fn explained(line: &str) -> Result<Value, (String, u8)> {
    let words = ["overspill".to_owned(), "explain".to_owned()].into_iter();
    let words = words.chain(line.split(' ').map(|word| word.replace('@', " ")));
    let Command::Explain(ask) = Arguments::try_parse_from(words).unwrap().command else { panic!() };
    let words = crate::cli::explain::words(&ask);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(ask.file.as_ref().unwrap());
    explain(&file, &ask, &words)
}

fn outcome(line: &str) -> (String, String) {
    let value = explained(line).unwrap_or_else(|(why, _)| panic!("{why}"));
    let word = |key: &str| value["outcome"][key].as_str().unwrap_or_default().to_owned();
    (word("group"), word("reason"))
}

/// What state a group is in, and how full it is.
fn state(line: &str, group: &str) -> (String, f64) {
    let value = explained(line).unwrap_or_else(|(why, _)| panic!("{why}"));
    let tiers = value["tiers"].as_array().unwrap().clone();
    let mut backends = tiers.iter().flat_map(|tier| tier["backends"].as_array().unwrap());
    let backend = backends.find(|backend| backend["group"] == group).unwrap();
    let fullness = backend["fullness"].as_f64().unwrap();
    (backend["state"].as_str().unwrap().to_owned(), (fullness * 1e6).round() / 1e6)
}

fn refusal(line: &str) -> String {
    let (why, code) = explained(line).unwrap_err();
    assert_eq!(code, 2, "{why}");
    why
}

/// A file of `config/` in a folder of its own, with this changed.
fn copy(name: &str, folder: &Path, from: &str, to: &str) -> String {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)).unwrap();
    assert!(text.contains(from), "{name} has no {from}");
    let path = folder.join(name);
    std::fs::write(&path, text.replace(from, to)).unwrap();
    path.display().to_string()
}

#[test]
fn g_2_5_a_full_group_spills_and_says_so() {
    assert_eq!(outcome("rate.yaml --load ig-near=99/s"), ("ig-near".into(), "nearest".into()));
    let line = "rate.yaml --load ig-near=100/s";
    assert_eq!(outcome(line), ("ig-far".into(), "full".into()));
    let value = explained(line).unwrap();
    let verdicts: Vec<_> =
        (0..2).map(|n| value["tiers"][n]["verdict"].as_str().unwrap().to_owned()).collect();
    assert_eq!(verdicts, ["full", "taken"]);
    assert_eq!(value["tiers"][0]["backends"][0]["fullness"], 1.0);
    let line = "rate.yaml --load ig-near=100/s --load ig-far=200/s";
    assert_eq!(outcome(line).1, "overfilled");
}

#[test]
fn percent_is_of_the_target_in_every_mode_and_a_number_is_in_the_modes_unit() {
    for (file, group) in [
        ("rate.yaml", "ig-near"),
        ("in-flight.yaml", "ig-near"),
        ("utilization.yaml", "ig-cpu"),
        ("custom-metrics.yaml", "ig-near"),
        ("tcp-proxy.yaml --request tcp://127.0.0.1:5432", "ig-near"),
    ] {
        let state = |percent: u32| state(&format!("{file} --load {group}={percent}%"), group);
        assert_eq!((state(99), state(100)), (("room".into(), 0.99), ("full".into(), 1.0)), "{file}");
    }
    let one_zone =
        explained("neg.yaml --load us-central1-a/neg-web=50% --healthy us-central1-a/neg-web=2").unwrap();
    let fullness = |n: usize| one_zone["tiers"][0]["backends"][n]["fullness"].as_f64();
    assert_eq!((fullness(0), fullness(1)), (Some(0.5), Some(0.0)));
    assert_eq!(outcome("rate.yaml --load ig-near=99").0, "ig-near");
    assert_eq!(outcome("rate.yaml --load ig-near=100").0, "ig-far");
    let connections =
        |n: u32| outcome(&format!("tcp-proxy.yaml --request tcp://127.0.0.1:5432 --load ig-near={n}")).0;
    assert_eq!((connections(199), connections(200)), ("ig-near".into(), "ig-far".into()));
}

#[test]
fn a_load_in_a_unit_that_the_mode_does_not_have_is_an_error_that_names_the_right_one() {
    for (line, says) in [
        ("in-flight.yaml --load ig-near=9/s", "requests in flight such as --load ig-near=12"),
        ("utilization.yaml --load ig-cpu=9", "percent of its target such as --load ig-cpu=50%"),
        ("tcp-proxy.yaml --load ig-far=9/s", "connections such as --load ig-far=12"),
        ("custom-metrics.yaml --load ig-near=9/s", "percent of its target such as --load ig-near=50%"),
        ("rate.yaml --load ig-near=9/s --load ig-near=50%", "--load is given twice for `ig-near`"),
        ("rate.yaml --healthy ig-near=1 --healthy ig-near=1", "--healthy is given twice for `ig-near`"),
        ("rate.yaml --healthy ig-near=3", "more than `ig-near` in zone us-central1-a has: say 0 to 2"),
        ("neg.yaml --healthy neg-web=2", "more than `neg-web` in zone us-central1-b has: say 0 to 1"),
        ("neg.yaml --load neg-web=9/s --load us-central1-b/neg-web=9/s", "twice for `neg-web`"),
        ("neg.yaml --load us-east1-b/neg-web=9/s", "no backend is called `us-east1-b/neg-web`"),
        ("internet.yaml --load neg-name=50%", "internet endpoints are never full"),
    ] {
        let why = refusal(line);
        assert!(why.contains(says), "{line}: {why}");
    }
    assert_eq!(outcome("custom-metrics.yaml --load ig-far=199/s --healthy ig-near=0").1, "unhealthy");
    assert_eq!(outcome("custom-metrics.yaml --load ig-far=200/s --healthy ig-near=0").1, "overfilled");
}

#[test]
fn a_group_without_healthy_members_is_left_and_without_any_there_is_no_pick() {
    assert_eq!(outcome("rate.yaml --healthy ig-near=0"), ("ig-far".into(), "unhealthy".into()));
    let value = explained("rate.yaml --healthy ig-near=0 --healthy ig-far=0").unwrap();
    assert_eq!(value["outcome"]["statusDetails"], "failed_to_pick_backend");
    assert_eq!(value["outcome"]["status"], 503);
}

#[test]
fn g_3_the_key_of_client_ip_is_of_the_client_and_of_the_address_that_it_connects_to() {
    let ask = |more: &str| explained(&format!("affinity-client-ip.yaml --client-ip {more}")).unwrap();
    let (one, again) = (ask("192.0.2.1"), ask("192.0.2.1"));
    assert_eq!(one["session"]["key"], again["session"]["key"]);
    assert_eq!(one["outcome"]["member"], again["outcome"]["member"]);
    assert_ne!(one["session"]["key"], ask("192.0.2.2")["session"]["key"]);
    assert_eq!(one["session"]["to"], "127.0.0.1");
    let named = ask("192.0.2.1 --request http://10.0.0.9:8080/");
    assert_eq!(named["session"]["to"], "10.0.0.9");
    assert_ne!(one["session"]["key"], named["session"]["key"]);
    let said = ask("192.0.2.1 --to 10.0.0.9");
    assert_eq!(said["session"]["key"], named["session"]["key"]);

    let folder = tempfile::tempdir().unwrap();
    let file =
        copy("affinity-client-ip.yaml", folder.path(), "IPAddress: 127.0.0.1, ", "IPAddress: 0.0.0.0, ");
    let wild = explained(&format!("{file} --client-ip 192.0.2.1")).unwrap();
    assert_eq!(wild["session"]["key"], one["session"]["key"]);
    assert!(wild["session"]["toBecause"].as_str().unwrap().starts_with("assumed"), "{wild:#}");
}

#[test]
fn what_the_proxy_answers_by_itself_is_said_and_no_member_named() {
    for (line, status, detail) in [
        ("rate.yaml --request http://a.test/a/../b?c", 302, "direct_response"),
        ("rate.yaml --request TRACE@/", 400, "unsupported_method"),
        ("rate.yaml --request CONNECT@a.test:443", 400, "unsupported_method"),
        ("rate.yaml --header upgrade:other --header connection:upgrade", 400, "upgrade_header_rejected"),
    ] {
        let value = explained(line).unwrap();
        let outcome = &value["outcome"];
        assert_eq!(
            (&outcome["status"], &outcome["statusDetails"]),
            (&status.into(), &detail.into()),
            "{line}"
        );
        assert!(outcome["member"].is_null() && value["tiers"].is_null(), "{value:#}");
        assert!(text::of(&value).contains(&format!("  answer   {status} {detail}")));
    }
    let redirect = explained("rate.yaml --request http://a.test/a/../b?c").unwrap();
    assert_eq!(redirect["outcome"]["location"], "/b?c");
}

#[test]
fn a_connection_is_found_by_the_port_of_its_forwarding_rule() {
    let value = explained("tcp-proxy.yaml --request tcp://db.test:5432").unwrap();
    assert_eq!((&value["route"]["forwardingRule"], &value["route"]["service"]), (&"db".into(), &"db".into()));
    assert_eq!(value["session"]["sessionAffinity"], "CLIENT_IP");
    assert!(value["outcome"]["member"].as_str().unwrap().starts_with("db-"));
    assert!(text::of(&value).starts_with("tcp://db.test:5432\n  route    db → db-proxy → service db\n"));
    let again = explained("tcp-proxy.yaml --forwarding-rule db --request tcp://db.test").unwrap();
    assert_eq!(again["outcome"], value["outcome"]);
    let dead =
        explained("tcp-proxy.yaml --request tcp://a:5432 --healthy ig-near=0 --healthy ig-far=0").unwrap();
    assert_eq!(dead["outcome"]["status"], Value::Null);
    assert!(text::of(&dead).contains("answer   reset failed_to_pick_backend"), "{}", text::of(&dead));
    for (line, says) in [
        (
            "tcp-proxy.yaml --request tcp://db.test:99",
            "no forwarding rule takes tcp:// connections at port 99; there are: db (tcp, port 5432)",
        ),
        ("tcp-proxy.yaml --request ssl://db.test:5432", "there are: db (tcp, port 5432)"),
        ("tcp-proxy.yaml", "ask with --request \"tcp://HOST:5432\""),
        ("tcp-proxy.yaml --forwarding-rule db", "ask with --request \"tcp://HOST:5432\""),
        ("rate.yaml --request tcp://db.test:5432", "there are: none"),
    ] {
        let why = refusal(line);
        assert!(why.contains(says), "{line}: {why}");
    }
    let ssl = explained("ssl-proxy.yaml --request ssl://127.0.0.1:9993").unwrap();
    assert_eq!(ssl["route"]["forwardingRule"], "mail");
}

#[test]
fn g_1_17_each_custom_metric_is_shown_with_its_reading_and_what_it_is_filled_up_to() {
    let value = explained("custom-metrics.yaml --load ig-near=50%").unwrap();
    let backend = &value["tiers"][0]["backends"][0];
    let (queue, cpu) = (&backend["customMetrics"][0], &backend["customMetrics"][1]);
    assert_eq!(
        (&queue["mean"], &queue["target"], &queue["fullness"]),
        (&0.35.into(), &0.7.into(), &0.5.into())
    );
    assert_eq!((&cpu["dryRun"], &cpu["mean"]), (&true.into(), &Value::Null));
    assert_eq!(
        (&backend["bindingTarget"], &backend["state"]),
        (&"orca.named_metrics.queue".into(), &"room".into())
    );
    let text = text::of(&value);
    for line in [
        "metric orca.named_metrics.queue: 0.35 of 0.7, 50 %: binds\n",
        "metric orca.cpu_utilization: not reported of 0.8: dry run, decides nothing\n",
        "50 % full",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("not limited"), "{text}");
    let far = explained("custom-metrics.yaml --load ig-far=100/s").unwrap();
    assert_eq!(far["tiers"][1]["backends"][0]["bindingTarget"], "maxRatePerInstance");
}

#[test]
fn among_the_members_of_prequal_and_of_a_new_session_chance_decides_and_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let prequal =
        copy("rate.yaml", folder.path(), "    backends:\n", "    localityLbPolicy: PREQUAL\n    backends:\n");
    let value = explained(&prequal).unwrap();
    let outcome = &value["outcome"];
    assert!(
        outcome["member"].is_null() && outcome["choice"].as_str().unwrap().starts_with("PREQUAL"),
        "{value:#}"
    );
    let one_of = outcome["oneOf"].as_array().unwrap();
    assert_eq!((one_of.len(), &one_of[0]["inFlight"]), (2, &0.into()));
    assert!(text::of(&value).contains("member   one of these of ig-near"), "{}", text::of(&value));
    // Where one is left, it is that one.
    let alone = explained(&format!("{prequal} --healthy ig-near=1")).unwrap();
    assert_eq!(alone["outcome"]["member"], "near-1");

    let new = explained("affinity-cookie.yaml").unwrap();
    assert!(new["outcome"]["oneOf"].as_array().unwrap().len() > 1, "{new:#}");
    let cookie = explained("affinity-cookie.yaml --header cookie:GCLB=AAAAAAAAAAAAAAAAAAAABw").unwrap();
    assert!(cookie["outcome"]["member"].is_string(), "{cookie:#}");
}

#[test]
fn g_3_6_a_strong_cookie_is_judged_by_the_key_that_is_there_or_not_at_all() {
    use crate::balance::hash;
    use crate::proxy::session::strong::Named;

    let folder = tempfile::tempdir().unwrap();
    let strong = "    sessionAffinity: STRONG_COOKIE_AFFINITY\n    strongSessionAffinityCookie: {name: s}\n    backends:\n";
    let file = copy("rate.yaml", folder.path(), "    backends:\n", strong);
    let config = check::load(Path::new(&file)).unwrap();
    let backend = &config.services[0].backends[1];
    let named = Named { backend: hash::group(&backend.group), member: hash::member(&backend.members[0]) };
    let cookie = Signer::new(&[0xAB; 32]).seal("web", named, None);
    let line = format!("{file} --header cookie:s={cookie}");

    let unjudged = explained(&line).unwrap();
    let says = format!("the cookie cannot be judged offline: no key at {file}.session-key");
    assert_eq!(unjudged["session"]["meaning"], says);
    assert!(text::of(&unjudged).contains("provided the cookie names nobody"), "{}", text::of(&unjudged));
    assert!(!Path::new(&format!("{file}.session-key")).exists(), "no key is made");

    std::fs::write(format!("{file}.session-key"), "ab".repeat(32) + "\n").unwrap();
    assert_eq!(outcome(&line), ("ig-far".into(), "session".into()));
    let elsewhere = explained(&format!("{line} --healthy ig-far=0")).unwrap();
    assert_eq!(elsewhere["outcome"]["reason"], "nearest");
    assert!(elsewhere["session"]["meaning"].as_str().unwrap().contains("may not be used now"));

    std::fs::write(format!("{file}.session-key"), "cd".repeat(32)).unwrap();
    let forged = explained(&line).unwrap();
    assert!(forged["session"]["meaning"].as_str().unwrap().contains("not of our making"));
    assert_eq!(forged["outcome"]["provided"], Value::Null);
    std::fs::write(format!("{file}.session-key"), "secret").unwrap();
    let broken = explained(&line).unwrap();
    assert!(broken["session"]["meaning"].as_str().unwrap().contains("does not hold 64"), "{broken:#}");
}

#[test]
fn what_is_not_known_is_a_usage_error() {
    let why = refusal("rate.yaml --load ig=3");
    assert_eq!(why, "overspill: no backend is called `ig`; there are: ig-near, ig-far\n");
    assert!(refusal("rate.yaml --forwarding-rule nope").contains("there are: web (http, port 8080)"));
    assert_eq!(explained("no-such-file.yaml").unwrap_err().1, 2);
    assert_eq!(explained("invalid/access-log-folder.yaml").unwrap_err().1, 1);
}

/// The groups of each tier, or of each region that was skipped.
fn groups(value: &Value, key: &str) -> Vec<Vec<String>> {
    let list = |value: &Value| value.as_array().unwrap().clone();
    let names = |place: &Value| {
        let backends = list(&place["backends"]);
        backends.iter().map(|backend| backend["group"].as_str().unwrap().to_owned()).collect()
    };
    list(&value[key]).iter().map(names).collect()
}

#[test]
fn g_2_16_a_backend_stands_in_its_own_tier_though_nothing_in_that_region_is_usable() {
    let dead = "--healthy ig-near-a=0 --healthy ig-near-b=0 --healthy ig-far=0";
    let by_zone = explained(&format!("service-lb-policy.yaml {dead}")).unwrap();
    assert_eq!(groups(&by_zone, "tiers"), [["ig-near-a"], ["ig-near-b"], ["ig-far"]]);
    assert_eq!(by_zone["skipped"], Value::Array(Vec::new()));

    let folder = tempfile::tempdir().unwrap();
    let far = "{group: ig-near-b, balancingMode: RATE, maxRatePerInstance: 100";
    let file = copy("service-lb-policy.yaml", folder.path(), far, &format!("{far}, preference: PREFERRED"));
    let preferred = explained(&format!("{file} {dead}")).unwrap();
    assert_eq!(groups(&preferred, "tiers"), [["ig-near-b"], ["ig-near-a"], ["ig-far"]]);

    let file = copy("service-lb-policy.yaml", folder.path(), "WATERFALL_BY_ZONE", "SPRAY_TO_WORLD");
    let world = explained(&format!("{file} {dead}")).unwrap();
    assert_eq!(groups(&world, "tiers"), [["ig-near-a", "ig-near-b", "ig-far"]]);
    assert_eq!(world["tiers"][0]["backends"][2]["state"], "no healthy member");
}

#[test]
fn g_2_15_what_isolation_keeps_a_request_from_is_listed_with_the_reason() {
    let full = "--request http://eu.example.com/ --load ig-near-a=200/s --load ig-near-b=100/s";
    let nearest = explained(&format!("service-lb-policy.yaml {full}")).unwrap();
    assert_eq!(nearest["outcome"]["reason"], "overfilled");
    assert!(nearest["outcome"]["because"].as_str().unwrap().contains("that isolationConfig leaves is full"));
    assert_eq!(groups(&nearest, "tiers"), [["ig-near-a", "ig-near-b"]]);
    assert_eq!(groups(&nearest, "skipped"), [["ig-far"]]);
    let skipped = &nearest["skipped"][0];
    assert_eq!(
        (&skipped["region"], &skipped["backends"][0]["state"]),
        (&"europe-west1".into(), &"isolated".into())
    );
    let text = text::of(&nearest);
    assert!(text.contains("skipped  europe-west1, 7184 km away: isolationMode NEAREST: "), "{text}");

    let folder = tempfile::tempdir().unwrap();
    let file =
        copy("service-lb-policy.yaml", folder.path(), "isolationMode: NEAREST", "isolationMode: STRICT");
    let elsewhere =
        std::fs::read_to_string(&file).unwrap().replace("region: europe-west1}", "region: asia-east1}");
    std::fs::write(&file, elsewhere).unwrap();
    let strict =
        explained(&format!("{file} --request http://eu.example.com/ --client-ip 127.0.0.2")).unwrap();
    assert_eq!(strict["outcome"]["statusDetails"], "failed_to_pick_backend");
    assert!(strict["outcome"]["because"].as_str().unwrap().contains("that isolationConfig leaves"));
    assert_eq!(strict["tiers"], Value::Array(Vec::new()));
    assert_eq!(groups(&strict, "skipped"), [vec!["ig-far"], vec!["ig-near-a", "ig-near-b"]]);
    assert!(strict["skipped"][0]["because"].as_str().unwrap().starts_with("isolationMode STRICT: "));
}

#[test]
fn what_is_said_of_a_group_of_another_service_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let all = "backends: *backends";
    let file = copy(
        "service-lb-policy.yaml",
        folder.path(),
        all,
        "backends: [{group: ig-far, balancingMode: RATE, maxRate: 9}]",
    );
    let eu = explained(&format!(
        "{file} --request http://eu.example.com/ --load ig-near-a=50% --healthy ig-near-b=0 --load ig-far=1/s"
    ));
    let notes = &eu.unwrap()["notes"];
    assert_eq!(notes.as_array().unwrap().len(), 2, "{notes}");
    assert!(
        notes[0].as_str().unwrap().starts_with("--load ig-near-a=50% has no effect: service `eu`"),
        "{notes}"
    );
    assert!(notes[1].as_str().unwrap().starts_with("--healthy ig-near-b=0 has no effect: "), "{notes}");
    let web = explained(&format!("{file} --request http://a.test/ --load ig-near-a=50%")).unwrap();
    assert!(web["notes"].is_null() && !text::of(&web).contains("  note "), "{web:#}");
    let own = explained(&format!("{file} --request http://a.test/../b --load ig-near-a=50%")).unwrap();
    assert!(
        text::of(&own)
            .contains("  note     --load ig-near-a=50% has no effect: the request comes to no service")
    );
}
