//! The agents of a project: their reports, and which rules each of them has.

pub mod adoption;
mod check_ins;
pub mod subscribers;

pub(crate) use self::check_ins::CheckIns;
