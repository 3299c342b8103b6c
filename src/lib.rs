//! Overspill: a layer-7 load balancer that balances by capacity.
//!
//! Floors; imports go down only, and `tests/law.rs` reads `src/` and enforces it:
//!
//! ```text
//!  floor 3  edges    main, cli/      admin/      telemetry/    source/ (config file)
//!  floor 2  engine   engine/ (supervisor, planner, workers)    proxy/ (a request's way)   health/ (probes)   net/ (listen, connect, tls)
//!  floor 1  ledger   world, ledger/ (shared live numbers), clock               atomics only, no async, no logs
//!  floor 0  ground   wire/ (Google's resources)   model/ (validated)   balance/ (algorithms)                 pure
//! ```

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
pub mod source;
pub mod telemetry;
pub mod wire;
pub mod world;
