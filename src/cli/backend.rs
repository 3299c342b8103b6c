//! `overspill backend`: toy backends until Ctrl-C.

use std::io;
use std::net::SocketAddr;

use super::args;
use super::toy::{Options, Settings, ToyBackend, Utilization};

/// Exit code: 0 stopped, 1 could not start.
pub(super) fn run(toy: &args::Toy) -> u8 {
    match serve(toy) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("overspill backend: {error}");
            1
        }
    }
}

fn serve(toy: &args::Toy) -> io::Result<()> {
    let mut running = Vec::new();
    for (place, listen) in toy.listen.iter().enumerate() {
        let name = name(toy, place, *listen);
        let options = Options { listen: *listen, name, workers: toy.workers, settings: settings(toy) };
        let backend = ToyBackend::start(options)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}")))?;
        println!("backend {} listens on http://{}", backend.name(), backend.address());
        running.push(backend);
    }
    let stopped = super::runtime()?.block_on(tokio::signal::ctrl_c());
    for backend in running {
        println!("backend {} answered {} requests", backend.name(), backend.requests());
    }
    stopped
}

fn settings(toy: &args::Toy) -> Settings {
    Settings {
        latency: toy.latency,
        has_jitter: toy.jitter,
        cpu: toy.cpu,
        status: toy.status,
        health_status: toy.health_status,
        body_bytes: toy.body_bytes,
        utilization: match (toy.utilization, toy.capacity, toy.cores) {
            (Some(value), ..) => Utilization::Fixed(value),
            (_, Some(rate), _) => Utilization::OfRate(rate),
            (.., Some(cores)) => Utilization::OfCpu(cores),
            _ => Utilization::None,
        },
        report: toy.report,
        faults: toy.fault,
    }
}

fn name(toy: &args::Toy, place: usize, listen: SocketAddr) -> String {
    match &toy.name {
        Some(name) if toy.listen.len() == 1 => name.clone(),
        Some(name) => format!("{name}-{}", place + 1),
        None if listen.port() == 0 => format!("backend-{}", place + 1),
        None => format!("backend-{}", listen.port()),
    }
}
