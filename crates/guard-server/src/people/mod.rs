//! People and programs that use the operator API: roles, passwords, sessions, tokens, and the audit
//! log of what they changed.

pub mod audit;
pub mod credential;
pub mod person;
pub mod role;
pub mod session;
pub mod token;

pub use self::audit::{Actor, AuditEntry, Change, Who};
pub use self::credential::CredentialHash;
pub use self::person::{Person, PersonOutcome, PersonUpdate};
pub use self::role::{Role, Scope};
pub use self::session::{Session, SessionLimits, SetupLink};
pub use self::token::Token;
