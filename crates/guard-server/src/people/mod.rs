//! People and programs that use the operator API: roles, passwords, sessions, tokens, and the audit
//! log of what they changed.

pub mod accounts;
pub mod audit;
pub mod credential;
mod error;
pub mod password;
pub mod person;
pub mod role;
pub mod session;
pub mod token;
pub mod tokens;

pub use self::audit::{Actor, AuditEntry, AuditFilter, AuditPage, Change, Who};
pub use self::credential::CredentialHash;
pub use self::error::PeopleError;
pub use self::person::{Person, PersonOutcome, PersonUpdate};
pub use self::role::{Role, Scope};
pub use self::session::{Session, SessionLimits, SetupLink};
pub use self::token::Token;
