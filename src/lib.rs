//! Overspill: a layer-7 load balancer that balances by capacity.
//!
//! It fills the nearest backends up to a target and spills what is over to the next nearest, with the resources and the
//! semantics of Google Cloud's Application Load Balancer. `[G 2.6]` in a comment cites a rule of Google's by number.
//!
//! # Where to begin
//!
//! A request: [`proxy`], from `proxy::handle` on. A change: [`engine`], from `engine::supervisor` on. A plan:
//! [`balance`].
//!
//! # The floors
//!
//! ```text
//!  floor 3  edges    main, cli/      admin/      telemetry/    source/ (config file)
//!  floor 2  engine   engine/ (supervisor, planner, workers)    proxy/ (a request's way)   health/ (probes)   net/ (listen, connect, tls)
//!  floor 1  ledger   world, ledger/ (shared live numbers), clock               atomics only, no async, no logs
//!  floor 0  ground   wire/ (Google's resources)   model/ (validated)   balance/ (algorithms)   simulate/     pure
//! ```
//!
//! | room | what it owns |
//! |---|---|
//! | [`cli`] | the commands, the demo with its load, the toy backends |
//! | [`admin`] | what the process tells over HTTP: status, metrics, getHealth, dashboard |
//! | [`telemetry`] | log lines on standard error, the table of metric families |
//! | [`source`] | where the text of a configuration comes from, and that it has changed |
//! | [`engine`] | the one writer of the world, the planner's clockwork, the workers' threads |
//! | [`proxy`] | a request's way: framing, route, session, pick, attempt, retry, answer, record |
//! | [`health`] | probes, and load that does not come with answers |
//! | [`net`] | listening, connecting, TLS: no HTTP and no decisions |
//! | [`world`] | one configuration joined with the live numbers of its members |
//! | [`ledger`] | counters, gates, leases, health: keyed by identity, kept over reloads |
//! | [`clock`] | the only file that asks for the time |
//! | [`simulate`] | a modelled world around `balance`: demand, members, proxies, events; a run is a value |
//! | [`balance`] | capacity, tiers, limits, plans, picks: (values, now) → value |
//! | [`model`] | the validated configuration, in which impossible states cannot be written |
//! | [`wire`] | Google's resources as text, letter by letter |
//!
//! # The import law
//!
//! Imports go down only; `tests/law.rs` reads `src/` and enforces it. What two neighbours both need belongs one floor
//! lower. Floor 0 is pure: no clock, no I/O, no async, no threads, no logs, no globals; time comes in as a `Tick`, chance
//! as an argument, and what it returns is a decision with its reason. `wire` knows nothing of ours, `model` alone reads
//! `wire`, `balance` never does. Floor 1 is atomics: no async and no logs. On floor 2 `net` knows no HTTP, `proxy` and
//! `health` do not know each other, and only `engine` knows them all. Edges see the engine through
//! [`engine::handle::Handle`].
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | service | a backend service: traffic with one health check, one affinity and several backends |
//! | group | an instance group or a network endpoint group: members in one zone |
//! | backend | a group inside a service, with balancing mode, target and scaler |
//! | member, endpoint | one `ip:port` that serves: as one service sees it, and as a machine |
//! | capacity, load, fullness | target × scaler; what is used now; load ÷ capacity |
//! | tier | backends that are tried together; the next one is tried when it is full |
//! | spill | a request placed in a later tier, with the reason |
//! | gate | the shared cell that makes a backend's rate exact over all workers |
//! | plan, pick | who may get what, about ten times a second; one request's member |
//! | lease | permission to send one request to a member; dropping it pays back |
//! | world | one immutable configuration with the live numbers of its members |

pub mod admin;
pub mod balance;
pub mod cli;
pub mod clock;
pub mod engine;
pub mod health;
pub mod ledger;
pub mod model;
pub mod net;
pub mod proxy;
pub mod simulate;
pub mod source;
pub mod telemetry;
pub mod wire;
pub mod world;
