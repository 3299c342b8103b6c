//! The commands and their options. A usage error exits with 2.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::compute::Asked;
use super::credentials::Credentials;
use super::explain::{Healthy, Load};
use super::run::Target;
use super::toy::{Faults, Form};
use super::words::{self, AdminAt};

/// A layer-7 load balancer that fills the nearest backends up to a target and spills the rest.
#[derive(Debug, Parser)]
#[command(name = "overspill", version, about, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    /// What is shown to a running proxy.
    pub credentials: Credentials,
}

/// One for each command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Balance as a configuration file says; the file is watched and edits take effect at once
    Serve(Serve),
    /// Balance over the given targets, without a file
    Run(Run),
    /// Two regions of built-in backends and a load: see fill, spill and drain in a minute
    Demo(Demo),
    /// Find everything that is wrong with a configuration file
    Check(Check),
    /// Where one request would go, and why: on a file with loads that you say, or on a running proxy
    Explain(Explain),
    /// Play a modelled demand and failures over a configuration, without sockets
    Simulate(Simulate),
    /// A toy backend with set latency, status and load reports
    Backend(Toy),
    /// Certificates for development
    #[command(subcommand)]
    Cert(Cert),
    /// Put a new binary into a running proxy's place, without losing a request
    Upgrade(Upgrade),
    /// Make one configuration of what gcloud prints: describe, list or export
    Import(super::import::Import),
    /// Write what a shell needs to complete these commands
    Completion(Completion),
    /// Write manual pages
    Man(Man),
    #[command(flatten)]
    /// Look at the resources of a running proxy, and change them
    Compute(Asked),
}

/// `overspill serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    #[command(flatten)]
    /// Shared with `run`.
    pub process: Process,
}

/// What `serve` and `run` share.
#[derive(Debug, Clone, Args)]
pub struct Process {
    /// Address of the admin API, metrics and dashboard, instead of the file's; or none
    #[arg(long, value_name = "ADDR", value_parser = words::admin)]
    pub admin: Option<AdminAt>,
    /// Data-plane threads, instead of the file's; 1 to 256
    #[arg(long, value_name = "N", value_parser = words::workers)]
    pub workers: Option<usize>,
    /// Refuse all changes through the admin API; edits of the file are taken
    #[arg(long)]
    pub read_only: bool,
    /// Go on as this user once all addresses are bound; for those who start as root
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Lowest level of log lines on standard error; OVERSPILL_LOG overrides it, by module where needed
    #[arg(long, value_enum, default_value_t = LogLevel::Info, value_name = "LEVEL")]
    pub log_level: LogLevel,
}

/// Levels of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Someone must act.
    Error,
    /// Someone should know.
    Warn,
    /// Changes of state.
    Info,
    /// Connections.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// As a filter writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

const TARGET_HELP: &str =
    "[ZONE=]ADDR[,rate=N][,name=NAME]: ADDR is a port, or HOST:PORT with an IP address or localhost";

/// `overspill run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Where clients connect
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    #[command(flatten)]
    /// Shared with `serve`.
    pub process: Process,
    /// Print the configuration file that the targets stand for, and exit
    #[arg(long)]
    pub print_config: bool,
    /// Where requests go.
    #[arg(required = true, value_name = "TARGET", help = TARGET_HELP)]
    pub targets: Vec<Target>,
}

/// `overspill demo`.
#[derive(Debug, Clone, Copy, Args)]
pub struct Demo {
    /// How long the whole demo takes, 12 to 3600 seconds
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(12..=3600))]
    pub seconds: u64,
    /// A line per second instead of a live screen; also chosen when the output is no terminal
    #[arg(long)]
    pub plain: bool,
}

/// `overspill check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Configuration file
    pub file: PathBuf,
    /// Warnings count as errors
    #[arg(long)]
    pub strict: bool,
    /// For people, or for programs
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// `overspill explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// Configuration file: all members healthy and idle, but for --load and --healthy
    #[arg(required_unless_present = "admin", conflicts_with = "admin")]
    pub file: Option<PathBuf>,
    /// Ask a running proxy instead, such as http://127.0.0.1:9901
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,
    /// The request; method, scheme and host may be missing. Or a connection of a TCP or SSL proxy: tcp://HOST:PORT
    #[arg(long, value_name = "REQUEST", default_value = "GET /")]
    pub request: String,
    /// Address of the client [default: 127.0.0.1]
    #[arg(long, value_name = "IP")]
    pub client_ip: Option<std::net::IpAddr>,
    /// Address of the proxy that the client connects to, which CLIENT_IP goes by too [default: that of the request's URL,
    /// else the forwarding rule's]
    #[arg(long, value_name = "IP")]
    pub to: Option<std::net::IpAddr>,
    /// A header of the request, such as 'cookie: GCLB=…'; may be given several times
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// Forwarding rule that it comes in at, if there are several
    #[arg(long, value_name = "NAME")]
    pub forwarding_rule: Option<String>,
    /// What a group has to do: ig-near=70% of its target; or in the unit of its mode, ig-near=90/s or ig-near=12 requests
    /// or connections at a time; once for each group
    #[arg(long, value_name = "GROUP=LOAD", conflicts_with = "admin")]
    pub load: Vec<Load>,
    /// Only so many members of a group are healthy, such as ig-near=1; once for each group
    #[arg(long, value_name = "GROUP=N", conflicts_with = "admin")]
    pub healthy: Vec<Healthy>,
    /// For people, or for programs
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// How `check` and `explain` write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Human,
    /// One JSON document.
    Json,
}

/// `overspill simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// Configuration file
    pub file: PathBuf,
    /// Scenario file: demand, how members behave, what happens when
    #[arg(long, value_name = "FILE")]
    pub scenario: PathBuf,
    /// Each request by itself, or rates; auto plays rates from 20 million requests on
    #[arg(long, value_enum, default_value_t = SimulatedAs::Auto, value_name = "MODEL")]
    pub model: SimulatedAs,
    /// Seconds from row to row, instead of the scenario's
    #[arg(long, value_name = "SECONDS", value_parser = words::positive)]
    pub interval: Option<f64>,
    /// Seed, instead of the scenario's
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Write all rows to this file
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write one page with charts to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// A table for people, or a summary for programs
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// How requests are simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SimulatedAs {
    /// As their number suggests.
    Auto,
    /// One by one.
    Requests,
    /// As rates.
    Fluid,
}

/// `overspill backend`.
#[derive(Debug, Clone, Args)]
pub struct Toy {
    /// Where to listen; given several times: one backend each
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub listen: Vec<SocketAddr>,
    /// What the x-backend header says; with several addresses, numbered from 1 [default: backend-PORT]
    #[arg(long)]
    pub name: Option<String>,
    /// Wait before each answer, such as 5ms
    #[arg(long, value_name = "TIME", value_parser = words::duration, default_value = "0")]
    pub latency: Duration,
    /// Waits vary between half and one and a half times the latency
    #[arg(long)]
    pub jitter: bool,
    /// CPU burnt for each request, such as 2ms
    #[arg(long, value_name = "TIME", value_parser = words::duration, default_value = "0")]
    pub cpu: Duration,
    /// Status of answers
    #[arg(long, value_parser = words::status, default_value = "200")]
    pub status: u16,
    /// Status of GET /healthz
    #[arg(long, value_name = "STATUS", value_parser = words::status, default_value = "200")]
    pub health_status: u16,
    /// Length of a body
    #[arg(long, value_name = "N", value_parser = words::body_bytes, default_value = "128")]
    pub body_bytes: usize,
    /// Utilization that it reports, such as 0.5
    #[arg(long, value_name = "RATIO", value_parser = words::positive)]
    pub utilization: Option<f64>,
    /// Report its own request rate divided by this as utilization
    #[arg(long, value_name = "RPS", value_parser = words::positive, conflicts_with = "utilization")]
    pub capacity: Option<f64>,
    /// Report its own CPU time divided by this many cores as utilization (Linux)
    #[arg(long, value_name = "CORES", value_parser = words::positive, conflicts_with_all = ["utilization", "capacity"])]
    pub cores: Option<f64>,
    /// Form of the report in the endpoint-load-metrics header: text, json, bin or none
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub report: Form,
    /// Faults on purpose, such as reset=1%,garbage=1%,half-close=1%,early=1%,trickle=1%,delay=50ms:5%
    #[arg(long, value_name = "FAULTS", default_value = "none")]
    pub fault: Faults,
    /// Serving threads for each address, 1 to 256
    #[arg(long, value_name = "N", value_parser = words::workers, default_value = "1")]
    pub workers: usize,
}

/// `overspill cert`.
#[derive(Debug, Subcommand)]
pub enum Cert {
    /// Make a certificate, and an authority for it that clients can be told to trust
    Dev(CertDev),
}

/// `overspill cert dev`.
#[derive(Debug, Args)]
pub struct CertDev {
    /// Folder for ca.pem, ca.key, NAME.pem and NAME.key; an authority that is there is used again
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Replace a certificate of the same name and its key
    #[arg(long)]
    pub force: bool,
    /// Names and addresses that it is for, such as localhost, *.example.test or 127.0.0.1
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

/// `overspill upgrade`.
#[derive(Debug, Args)]
pub struct Upgrade {
    /// Admin address of the running proxy; waits until the new process serves
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9901")]
    pub admin: String,
    /// The running process, where it has no admin address; it is sent SIGUSR2 and not waited for
    #[arg(long, value_name = "N", conflicts_with = "admin", value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,
}

/// `overspill completion`.
#[derive(Debug, Args)]
pub struct Completion {
    /// The shell
    pub shell: Shell,
}

/// Shells that can be helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU's.
    Bash,
    /// Z shell.
    Zsh,
    /// The friendly one.
    Fish,
}

/// `overspill man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Folder for them, one for each command
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Arguments::try_parse_from(line.split(' ')).map(|a| a.command)
    }

    #[test]
    fn the_commands_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn usage_errors_exit_with_2() {
        for line in [
            "overspill serve",
            "overspill run",
            "overspill run ?",
            "overspill demo --seconds 3",
            "overspill serve -c x --workers 0",
            "overspill backend --capacity 1 --utilization 1",
            "overspill backend --report xml",
            "overspill simulate a.yaml",
            "overspill simulate a.yaml --scenario b.yaml --interval 0",
            "overspill upgrade --pid 0",
            "overspill upgrade --pid 1 --admin http://127.0.0.1:1",
            "overspill nonsense",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn options_are_read() {
        let Command::Backend(toy) =
            parse("overspill backend --listen 127.0.0.1:1 --listen 127.0.0.1:2 --latency 5ms --report bin")
                .unwrap()
        else {
            unreachable!()
        };
        assert_eq!((toy.listen.len(), toy.latency.as_millis(), toy.report), (2, 5, Form::Bin));
        let Command::Serve(serve) = parse("overspill serve -c a.yaml --admin none --workers 2").unwrap()
        else {
            unreachable!()
        };
        assert_eq!((serve.process.admin, serve.process.workers), (Some(AdminAt::None), Some(2)));
    }
}
