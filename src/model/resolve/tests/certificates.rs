//! What certificates are shown with.

use crate::model::resolve::around::Around;
use crate::model::resolve::document_in;
use crate::model::x509::tests::response;

const INVALID: &str = include_str!("../../../../config/invalid/certificate-ocsp-file.yaml");

#[test]
fn an_ocsp_response_that_does_not_hold_today_is_not_shown_and_said_to_be_stale() {
    let (begins, ends): (&[u8], &[u8]) = (b"20260101000000Z", b"20260108000000Z");
    let text = INVALID.replace("../tls/ca.pem", "own.ocsp");
    let read = |path: &str| {
        Ok(match path.rsplit('/').next() {
            Some("localhost.pem") => include_bytes!("../../../../config/tls/localhost.pem").to_vec(),
            Some("localhost.key") => include_bytes!("../../../../config/tls/localhost.key").to_vec(),
            _ => response(&[(begins, Some(ends))]),
        })
    };
    let first = 1_767_225_600;
    let week = 7 * 86_400;
    for (now, is_shown) in
        [(first - 1, false), (first, true), (first + week, true), (first + week + 1, false)]
    {
        let found = document_in(&text, Around { read: &read, now: Some(now) });
        let stale = found.problems.iter().filter(|problem| problem.code == "stale-ocsp").count();
        let config = found.config.unwrap();
        let shown = config.fronts[0].tls().unwrap().certificates[0].certified().ocsp.is_some();
        assert_eq!((shown, stale), (is_shown, usize::from(!is_shown)), "{now}");
    }
}
