//! Google's resources as text: what a file may say, letter by letter, and nothing about what it means.
//!
//! [`yaml`] turns text into a [`document`], a tree that knows where each word stands. [`schema`] holds a table of fields for every
//! resource, [`walk`] holds the tree against the tables and collects everything that does not fit. What fits becomes a
//! plain struct with Google's names. Meaning (references, rules between fields, defaults) is `model::resolve`'s.

pub mod backend;
pub mod backend_service;
pub mod certificate;
pub mod document;
pub mod duration;
pub mod edit;
pub mod flaw;
pub mod front;
pub mod group;
pub mod health_check;
pub mod instance;
pub mod legacy_health_check;
pub mod loose;
pub mod path;
pub mod protection;
pub mod proxy;
pub mod read;
pub mod route_action;
pub mod route_rule;
pub mod schema;
pub mod service_lb_policy;
pub mod syntax;
pub mod tls;
pub mod url_map;
pub mod walk;
pub mod yaml;

/// A struct of the API: camelCase, absent fields absent again when written, unknown ones refused.
///
/// `required` fields are `T`, `optional` ones become `Option<T>`.
macro_rules! resource {
    (
        $(#[$meta:meta])* $name:ident
        required { $($(#[$rmeta:meta])* $required:ident: $rtype:ty,)* }
        optional { $($(#[$ometa:meta])* $optional:ident: $otype:ty,)* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            $($(#[$rmeta])* pub $required: $rtype,)*
            $($(#[$ometa])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $optional: Option<$otype>,)*
        }
    };
}
pub(crate) use resource;
