//! Reports that scatter widely and are late swing nothing (design.md 3.6).

use overspill::cli::simulate::scenario;
use overspill::simulate::{Model, run};

use crate::loops::config;

/// Members of 12 to 60 requests a second, most of them below what a start admits. Each report is wrong by up to a fifth
/// and 10 s late from the first one on.
#[test]
fn members_smaller_than_a_start_admits_do_not_swing_by_late_and_noisy_reports() {
    let config = config(|text| text);
    for (each, demand) in [(60.0, 3.0), (30.0, 1.3), (30.0, 3.0), (20.0, 1.3), (20.0, 3.0), (12.0, 3.0)] {
        let (full, cpu_ms) = (4.0 * each, 600.0 / each);
        let text = format!(
            "{{durationSec: 300, rowSec: 1, reports: {{delaySec: 10, noise: 0.2}},
              demand: [{{region: us-central1, arrivals: EVEN, rate: {}}}],
              members: [{{serviceMs: 50, cpuMs: {cpu_ms}, times: CONSTANT}}, {{group: far, serviceMs: 1, cpuMs: 0}}]}}",
            demand * full
        );
        let record = run(&config.services, &scenario(&text, &config).unwrap(), Model::Fluid);
        let parts: Vec<_> =
            record.rows.iter().map(|row| row.services[0].backends[0].traffic.rate() / full).collect();
        println!("{each} each, × {demand}: {parts:.2?}");
        // The first reports are 10 s late; what has piled up until then is worked off first.
        assert!(parts[120..].iter().all(|part| (part - 1.0).abs() <= 0.06), "swings");
    }
}
